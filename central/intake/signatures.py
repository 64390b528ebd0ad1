"""Signatures of many stations checked side by side, away from the event loop.

One check costs about 0.2 ms and lets go of the interpreter meanwhile: whoever waits is checked in one go on a worker
thread, while the last group of pushes is being committed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BATCH_MAX = 16
"""Checked per turn on a thread: short enough that nobody waits long for the others' answers."""
THREADS = 2

_Waiting = tuple[bytes, bytes, bytes, "asyncio.Future[bool]"]


@lru_cache(maxsize=4_096)
def _public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def is_valid(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is of this key and message."""
    try:
        _public_key(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Signatures:
    """A queue of checks, worked off in batches by a few threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="signatures")
        self._waiting: deque[_Waiting] = deque()
        self._busy = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def check(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether the signature is right; waits for its turn."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((public_key, signature, message, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        while self._waiting and self._busy < THREADS:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            self._busy += 1
            work = asyncio.get_running_loop().run_in_executor(self._threads, _check_all, batch)
            work.add_done_callback(lambda done, batch=batch: self._finish(batch, done))  # type: ignore[misc]

    def _finish(self, batch: list[_Waiting], done: asyncio.Future[list[bool]]) -> None:
        self._busy -= 1
        results = [] if done.cancelled() else done.result()
        for (_, _, _, answer), result in zip(batch, results, strict=False):
            if not answer.done():
                answer.set_result(result)
        self._start()


def _check_all(batch: list[_Waiting]) -> list[bool]:
    return [is_valid(public_key, signature, message) for public_key, signature, message, _ in batch]
