"""Batches as files: a reader sees a whole file under its batch id, or none.

`<batch id>.ndjson.<attempt>.part` is written, synced and renamed to `<batch id>.ndjson` in `out/`, then the folder is
synced. Files of other forms hold mapped records and nothing of ours: their delivery keys lie in `keys/` before that.
Readers take a file by moving it to `taken/` (or a folder below it). A batch that is in either was delivered.
Invariant: nothing is renamed into `out/` that is, or ever was, in one of the two: whoever takes a batch over first
removes the earlier attempts' parts, so that a process that was frozen before its rename cannot do it any more.
All functions block and run outside the event loop.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from central.connectors.base import Delivery, NoAnswer, TargetDenies
from central.connectors.formats.dialect import Dialect
from central.connectors.formats.writing import compose_file
from shared.canonical import canonical, parse_object
from shared.errors import BadInput
from shared.faultpoints import reach

SUFFIX = ".ndjson"
SUFFIXES = (SUFFIX, ".csv", ".xlsx", ".json", ".xml")
PART = ".part"


def compose(delivery: Delivery) -> bytes:
    """One line: what identifies the delivery, then its record, or header and document as the exact bytes sealed."""
    about = canonical(
        {
            "delivery_key": delivery.key,
            "doc_id": delivery.doc_id,
            "number": delivery.number,
            "station": delivery.station,
            "store": delivery.store,
        }
    )
    if delivery.record is not None:
        record = compose_file([delivery.record], Dialect(form="ndjson")).rstrip()
        return about[:-1] + b',"record":' + record + b"}\n"
    return about[:-1] + b',"header":' + delivery.header + b',"document":' + delivery.payload + b"}\n"


class OutFolder:
    """The two folders that batches of one integration go through."""

    def __init__(self, folder: Path, integration: str) -> None:
        self.out = folder / "out"
        self.taken = folder / "taken"
        self._keys = folder / "keys"
        # Only names that we give: a file that somebody else put there is none of our batches.
        self._ours = re.compile(rf"{re.escape(integration)}-\d{{8}}T\d{{9}}Z-[0-9a-f]{{16}}")

    def batches(self) -> dict[str, Path]:
        """Every batch that was delivered and is still in one of the folders."""
        found: dict[str, Path] = {}
        # `out` first: a file that a reader moves meanwhile is then seen twice, never missed.
        for path in (*_files(self.out), *_files_below(self.taken)):
            if path.suffix in SUFFIXES and self._ours.fullmatch(path.stem):
                found.setdefault(path.stem, path)
        return found

    def forget_attempts(self, batch_id: str) -> None:
        """Remove what earlier attempts at this batch left half done; one that still runs then fails at its rename."""
        for path in _files(self.out):
            if path.name.startswith(f"{batch_id}.") and path.name.endswith(PART):
                path.unlink(missing_ok=True)

    def note_keys(self, batch_id: str, keys: Iterable[str]) -> None:
        """Keep the delivery keys of a file that will not hold them itself."""
        self._keys.mkdir(exist_ok=True)
        part = self._keys / f"{batch_id}{PART}"
        with open(part, "w", encoding="utf-8") as file:
            file.writelines(f"{key}\n" for key in keys)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._keys / batch_id)
        sync_folder(self._keys)

    def write(self, batch_id: str, attempt: str, lines: Iterable[bytes], suffix: str = SUFFIX) -> Path:
        """Write one attempt's part, and return once its bytes are on the disk."""
        part = self.out / f"{batch_id}{suffix}.{attempt}{PART}"
        try:
            with open(part, "xb") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            part.unlink(missing_ok=True)  # a full disk is not made fuller
            raise
        return part

    def place(self, batch_id: str, part: Path) -> None:
        """Give a part its name; from here on readers see it.

        Raises:
            NoAnswer: another process took the batch over in the meantime.
        """
        reach("delivery.before_rename")
        if batch_id in self.batches():
            part.unlink(missing_ok=True)
            return
        try:
            os.replace(part, self.out / part.name.removesuffix(PART).rpartition(".")[0])
        except FileNotFoundError:
            raise NoAnswer(f"another process took batch {batch_id} over") from None
        reach("delivery.after_rename")
        sync_folder(self.out)
        self.forget_attempts(batch_id)

    def keys(self, path: Path) -> frozenset[str]:
        """The delivery keys of a file.

        Raises:
            TargetDenies: it holds a line that is none of ours; whether its documents were delivered cannot be told.
        """
        if path.suffix != SUFFIX:
            return self._noted(path)
        keys = set()
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    keys.add(str(parse_object(line)["delivery_key"]))
                except (BadInput, KeyError):
                    raise TargetDenies(
                        f"{path}, line {number} is not a delivered document, but the file bears the name of a batch",
                        hint="restore the file, or move it out of the drop folder if its documents shall be sent again",
                    ) from None
        return frozenset(keys)

    def _noted(self, path: Path) -> frozenset[str]:
        try:
            return frozenset((self._keys / path.stem).read_text(encoding="utf-8").split("\n")[:-1])
        except FileNotFoundError:
            raise TargetDenies(
                f"{path} bears the name of a batch, but what was delivered with it is not known: "
                f"{self._keys / path.stem} is missing",
                hint="restore that file, or move the batch away if its documents shall be sent again",
            ) from None


def sync_folder(folder: Path) -> None:
    """Make the folder's names durable. Windows has no such call: NTFS journals its names."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _files_below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error  # a folder that cannot be read might hold the batch

    for where, _, names in os.walk(folder, onerror=refuse):
        for name in names:
            yield Path(where, name)
