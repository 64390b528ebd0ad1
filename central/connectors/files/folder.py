"""The folder of another system: what lies in it, and the records of its files. It blocks, and it only reads.

Invariant: a file that changed while it was read counts as not read. What is newest of a record comes, and comes once.
"""

from __future__ import annotations

import gzip
import os
import stat
import tempfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from central.connectors.base import Page, TargetAway
from central.connectors.files.names import NamePattern
from central.connectors.files.plan import Chosen, Place, Seen, write_place
from central.connectors.files.settings import KEY, FileList
from central.connectors.formats.dialect import is_unfinished
from central.connectors.formats.reading import UNPACKED_MAX_BYTES, read_records
from shared.errors import BadInput, TooLarge

FILES_MAX = 50_000
CHANGED_MAX = 200_000
"""Records of files of changes that one run holds in memory."""
PACKED = ".gz"
Values = dict[str, Any]


def look(folder: Path, one: FileList) -> list[Seen]:
    """The files of a list as they are now.

    Raises:
        TargetAway: the folder is not there.
    """
    found: dict[str, os.stat_result] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(found) >= FILES_MAX:
                    raise BadInput(f"{folder} holds more than {FILES_MAX:,} files", hint="move old ones away")
                about = entry.stat(follow_symlinks=False)
                # A link might lead anywhere on this machine.
                if stat.S_ISREG(about.st_mode):
                    found[entry.name] = about
    except OSError as error:
        raise _away(folder, error) from error
    full, changes = (NamePattern(text) if text else None for text in (one.full, one.changes))
    seen: list[Seen] = []
    for name, about in found.items():
        if is_unfinished(name) or (one.ready and name + one.ready not in found):
            continue
        marker = found[name + one.ready] if one.ready else about
        for pattern, is_full in ((full, True), (changes, False)):
            fields = pattern.read(name) if pattern else None
            if fields is not None:
                place = _place(one, name, fields, max(_came(about), _came(marker)))
                seen.append(Seen(name, about.st_size, place, is_full, fields))
                break
    return seen


def _came(about: os.stat_result) -> int:
    # The later of both: a copy that keeps the old time of its content has come only now.
    return max(about.st_mtime_ns, about.st_ctime_ns)


def _place(one: FileList, name: str, fields: Mapping[str, str], came_ns: int) -> Place:
    if one.order == "time":
        return came_ns, name
    return name if one.order == "name" else fields[one.order], name


def pages(folder: Path, one: FileList, chosen: Chosen, size: int) -> Generator[Page, None, None]:
    """What the chosen files say, newest word only; the last page has the cursor.

    Raises:
        TargetAway: a file vanished or changed while it was read.
        BadInput: a file cannot be read.
    """
    run = _Reading(folder, one)
    for file in chosen.changes:
        for key, values in run.records(file):
            run.changed[key] = values
            if len(run.changed) > CHANGED_MAX:
                raise TooLarge(
                    f"{file.name} and those before it change more than {CHANGED_MAX:,} records",
                    hint="hand in a full file",
                )
    records: list[Values] = []
    gone: list[str] = []
    for key, values in run.merged(chosen.full):
        if values is None:
            gone.append(key)
        else:
            records.append(values)
        if len(records) + len(gone) >= size:
            yield Page(records, gone, unreadable=run.told())
            records, gone = [], []
    yield Page(records, gone, write_place(chosen.place) if chosen.place else None, run.told())


class _Reading:
    """One run over files. `changed` has what the files of changes say of a record; None: it is gone."""

    def __init__(self, folder: Path, one: FileList) -> None:
        self._folder = folder
        self._list = one
        self.changed: dict[str, Values | None] = {}
        self._unreadable: list[str] = []

    def told(self) -> Sequence[str]:
        """What could not be read since this was asked last."""
        found, self._unreadable = self._unreadable, []
        return found

    def merged(self, full: Sequence[Seen]) -> Iterator[tuple[str, Values | None]]:
        for file in full:
            for key, values in self.records(file):
                if key not in self.changed:
                    yield key, values
        yield from self.changed.items()

    def records(self, file: Seen) -> Iterator[tuple[str, Values | None]]:
        """Key and values of each record; None: it says that it is gone."""
        path = self._folder / file.name
        try:
            before = path.stat()
            with _plain(path) as plain:
                for record in read_records(plain, self._list.dialect, self._list.skip):
                    if record.values is None:
                        self._unreadable.append(f"{file.name}, line {record.line}: {record.why}")
                        continue
                    values = {**record.values, **file.fields}
                    key = "/".join(_text(values.get(name)) for name in self._list.keys)
                    if not all(_text(values.get(name)) for name in self._list.keys):
                        lacks = next(name for name in self._list.keys if not _text(values.get(name)))
                        self._unreadable.append(f"{file.name}, line {record.line}: it has no {lacks}")
                        continue
                    if self._list.key_field == KEY:
                        values[KEY] = key
                    yield key, None if self._is_gone(values) else values
            after = path.stat()
        except OSError as error:
            raise _away(path, error) from error
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise TargetAway(f"{path} changed while it was read", hint="it is read again soon")

    def _is_gone(self, values: Values) -> bool:
        return any(_text(values.get(name)) in told for name, told in self._list.deleted.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """The file, unpacked where it is packed."""
    if path.suffix.lower() != PACKED:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="counterflow-") as place:
        plain = Path(place) / path.stem
        with open(plain, "wb") as out:
            _unpack(path, out)
        yield plain


def _unpack(path: Path, out: BinaryIO) -> None:
    try:
        with gzip.open(path, "rb") as packed:
            while chunk := packed.read(1 << 20):
                out.write(chunk)
                if out.tell() > UNPACKED_MAX_BYTES:
                    raise TooLarge(f"{path.name} unpacks to more than {UNPACKED_MAX_BYTES >> 20} MiB")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{path.name} is no whole gzip file: {error}") from None


def _away(path: Path, error: OSError) -> TargetAway:
    return TargetAway(
        f"{path} cannot be read: {error.strerror or error}",
        hint="mount the share, or give the centre's user the right to read",
    )
