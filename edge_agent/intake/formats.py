"""Files of the spool as submissions: `.json` (one object, or a list of them) and `.ndjson` (one per line).

Pure. What cannot be read as a submission comes out in its place with the reason, so that the others are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from pydantic_core import from_json

from shared.canonical import canonical
from shared.errors import BadInput, TooLarge

SUFFIXES = (".json", ".ndjson")
FILE_MAX_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Item:
    """One submission of a file: its line (or its place in a JSON list, from 1) and its bytes."""

    line: int
    raw: bytes
    error: BadInput | None = None


def items(name: str, content: bytes) -> Iterator[Item]:
    """The submissions of a file in order; empty lines are skipped.

    Raises:
        BadInput: the file as a whole cannot be read; the message names it and says why.
    """
    if len(content) > FILE_MAX_BYTES:
        raise TooLarge(
            f"spool file {name} has {len(content)} bytes; at most {FILE_MAX_BYTES} are taken",
            hint="split it: one document is one line of .ndjson",
        )
    content = content.removeprefix(_BOM)
    if not content.strip():
        raise BadInput(
            f"spool file {name} is empty", hint="write to NAME.part and rename when it is complete"
        )
    match PurePath(name).suffix.lower():
        case ".ndjson":
            yield from (Item(line, raw) for line, raw in enumerate(content.split(b"\n"), 1) if raw.strip())
        case ".json":
            yield from _json_items(name, content)
        case suffix:
            raise BadInput(
                f'spool file {name}: the suffix "{suffix}" is not taken', hint=f"use {' or '.join(SUFFIXES)}"
            )


def _json_items(name: str, content: bytes) -> Iterator[Item]:
    try:
        value = from_json(content, allow_inf_nan=False)  # keeps every digit of an integer
    except ValueError as error:
        raise BadInput(f"spool file {name} is not valid JSON: {error}", code="malformed-json") from None
    if not isinstance(value, list):
        yield Item(1, content)
        return
    for place, element in enumerate(value, 1):
        try:
            yield Item(place, canonical(element))
        except BadInput as error:
            yield Item(place, repr(element).encode(), error)
