"""What the names of files say: which list a file belongs to, and fields of all its records. Pure.

In a pattern `*` is any text, `?` one character, and `{store}` a text without `-`, `_`, `.` and spaces that every record
of the file gets as a field: `PriceFull{chain}-{store}-{stamp}.xml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAME_MAX = 255
WILD_MAX = 10
"""Of wild parts in a pattern: each one multiplies the ways in which a name may be taken."""
_WILD = re.compile(r"(\*|\?|\{[^{}]*\})")
_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ANY = {"*": ".*", "?": "."}


class NamePattern:
    """One pattern, compiled.

    Raises:
        ValueError: it is no pattern.
    """

    def __init__(self, text: str) -> None:
        parts = _WILD.split(text)
        wild = [part for part in parts if _WILD.fullmatch(part)]
        self.fields = [_field(part) for part in wild if part not in _ANY]
        if not text or len(text) > NAME_MAX or "/" in text or "\\" in text:
            raise ValueError(f'"{text}" is no pattern of names in one folder')
        if len(wild) > WILD_MAX or len(set(self.fields)) < len(self.fields):
            raise ValueError(f'"{text}" has a field twice, or more than {WILD_MAX} wild parts')
        self._pattern = re.compile("".join(map(_compiled, parts)), re.DOTALL)

    def read(self, name: str) -> Mapping[str, str] | None:
        """The fields that a name states; None where it is of another list."""
        found = self._pattern.fullmatch(name) if len(name) <= NAME_MAX else None
        return None if found is None else found.groupdict()


def _field(part: str) -> str:
    found = _FIELD.fullmatch(part)
    if found is None:
        raise ValueError(f"{part} is no field; write small letters, digits and _ in braces, e.g. {{store}}")
    return found[1]


def _compiled(part: str) -> str:
    if part in _ANY:
        return _ANY[part]
    return f"(?P<{part[1:-1]}>[^-_. ]+)" if _WILD.fullmatch(part) else re.escape(part)
