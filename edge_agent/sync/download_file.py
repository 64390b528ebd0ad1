"""Receive a large file in pieces: resumable, bounded, and only believed once its SHA-256 is right.

What arrived before a cut stays in the `.part` file. It is hashed while it arrives; only what an earlier try left is
read again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

from shared.errors import CannotStore, ConnectionFailed

FILE_MAX_BYTES = 4 << 30
"""Far above any snapshot; a bound for when nobody told the size."""
_READ_BYTES = 1 << 20


def size_of(path: Path) -> int:
    """Bytes of a file, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def receive(pieces: AsyncIterator[bytes], part: Path, start: int, size_bytes: int | None) -> str:
    """Write what comes to *part* from byte *start* on; return the SHA-256 of the whole file in hex.

    Raises:
        ConnectionFailed: more came than the offer said.
        CannotStore: the disk refused it.
    """
    limit = size_bytes if size_bytes is not None else FILE_MAX_BYTES
    file, digest = await _stored(part, _open_at, part, start)
    position = start

    def take(piece: bytes) -> None:
        file.write(piece)
        digest.update(piece)

    try:
        async for piece in pieces:
            position += len(piece)
            if position > limit:
                raise ConnectionFailed(
                    f"{part.name} goes on beyond the {limit} bytes that were offered", code="wrong-answer"
                )
            await _stored(part, take, piece)
    finally:
        await _stored(part, file.close)
    return str(digest.hexdigest())


async def finish(part: Path, target: Path, arrived_sha256: str, sha256: str) -> None:
    """Give a received file its name if it is the one that was asked for.

    Raises:
        ConnectionFailed: its SHA-256 is another; the file is deleted so that the next try starts anew.
    """
    if arrived_sha256 != sha256:
        await _stored(part, part.unlink)
        raise ConnectionFailed(
            f"{target.name} arrived with another SHA-256 than offered",
            hint="it is fetched again",
            code="wrong-answer",
        )
    await _stored(part, os.replace, part, target)


async def _stored(part: Path, act: Callable[..., Any], *args: object) -> Any:
    """Do one thing on the disk in a thread."""
    try:
        return await asyncio.to_thread(act, *args)
    except OSError as error:
        # Not the network's fault: said so, or the line would look down while the disk is full.
        raise CannotStore(
            f"{part} cannot be written: {error.strerror}", hint="free space on this disk"
        ) from error


def _open_at(part: Path, start: int) -> tuple[BinaryIO, Any]:
    """The file at byte *start*, nothing behind it, and the hash of what stands before."""
    part.parent.mkdir(parents=True, exist_ok=True)
    file = open(part, "r+b" if start else "wb")  # noqa: SIM115 - the caller closes it
    digest = hashlib.sha256()
    left = start
    while left and (piece := file.read(min(left, _READ_BYTES))):
        digest.update(piece)
        left -= len(piece)
    file.truncate()
    return file, digest
