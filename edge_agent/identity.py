"""Who this machine is to the centre: its Ed25519 key, and what HQ answered when it enrolled.

Rule 1: the key is made and on the disk before the centre hears of it, so a lost answer is asked for again with the
same key. Rule 2: the identity lies apart from journal.db: losing one is not losing the other.
Rule 3: becoming another station never loses a document: the old journal and key are archived together and drained as
the old station. A new identity is prepared whole in `identity.next` and then takes its place by renames; a power cut
between any two of them is finished at the next start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge_agent import keyfile
from edge_agent.signing import Signer, new_seed
from shared.canonical import canonical
from shared.clock import Clock
from shared.documents.fields import Record
from shared.errors import ConfigError
from shared.ids import check_code

FOLDER = "identity"
NEXT_FOLDER = "identity.next"
ARCHIVE = "archive"
KEY_FILE = "key.pem"
IDENTITY_FILE = "identity.json"
DRAINED_FILE = "drained.json"
JOURNAL_FILES = ("journal.db", "journal.db-wal", "journal.db-shm")


class IdentityRecord(Record):
    """identity.json: what the centre said, and where it was asked."""

    station: str
    store: str
    zone: str
    currency: str
    centre: str
    server_url: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A station's identity with its key. Signing is the only use of the key; it never leaves the disk otherwise."""

    record: IdentityRecord
    key: Signer

    @property
    def station(self) -> str:
        return self.record.station

    @property
    def centre(self) -> str:
        return self.record.centre

    @property
    def public_key(self) -> bytes:
        return self.key.public_key

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


def load(data_dir: Path) -> Identity:
    """The identity of this instance, after finishing a change that was cut off; for the holder of the lock.

    Raises:
        ConfigError: not enrolled, or its files cannot be read.
    """
    finish_change(data_dir)
    return current(data_dir)


def current(data_dir: Path) -> Identity:
    """As `load`, for those who only look: the agent may run, and nothing is changed."""
    folder = data_dir / FOLDER
    if not (folder / IDENTITY_FILE).exists():
        raise ConfigError(
            f"this instance is not enrolled: there is no {folder / IDENTITY_FILE}",
            hint="get a code from HQ and run: counterflow-agent enroll CODE --server URL",
            code="not-enrolled",
        )
    return read(folder)


def read(folder: Path) -> Identity:
    """The identity in *folder* (the instance's own, or an archived one)."""
    try:
        record = IdentityRecord.model_validate_json((folder / IDENTITY_FILE).read_bytes())
        check_code(record.station, "station")
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{folder / IDENTITY_FILE} cannot be read: {error}", hint="enrol again with a code from HQ"
        ) from error
    return Identity(record, Signer(keyfile.load(folder / KEY_FILE)))


def is_enrolled(data_dir: Path) -> bool:
    return (data_dir / FOLDER / IDENTITY_FILE).exists()


def key_for_enrolment(data_dir: Path) -> Signer:
    """The key to enrol with: the one of an enrolment that got no answer, or a new one, stored before it is used."""
    path = data_dir / NEXT_FOLDER / KEY_FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        keyfile.store(path, new_seed())
    return Signer(keyfile.load(path))


def adopt(data_dir: Path, record: IdentityRecord, clock: Clock) -> None:
    """Become *record* with the key of `key_for_enrolment`; what was here before goes to the archive."""
    keyfile.write_durably(data_dir / NEXT_FOLDER / IDENTITY_FILE, canonical(record.model_dump()))
    archive_name = data_dir / NEXT_FOLDER / "archive-as"
    if is_enrolled(data_dir):
        old = read(data_dir / FOLDER)
        keyfile.write_durably(archive_name, f"{old.station}-{clock.now_ms()}".encode())
    finish_change(data_dir)


def renew(data_dir: Path, record: IdentityRecord) -> None:
    """The centre had forgotten this station and knows it again: the same key and journal, a new answer."""
    keyfile.write_durably(data_dir / FOLDER / IDENTITY_FILE, canonical(record.model_dump()))


def finish_change(data_dir: Path) -> None:
    """Do the renames of `adopt` that are still missing; nothing to do when no answer had come."""
    following = data_dir / NEXT_FOLDER
    if not (following / IDENTITY_FILE).exists():
        return
    current = data_dir / FOLDER
    name = following / "archive-as"
    if name.exists():
        _archive(data_dir, data_dir / ARCHIVE / name.read_text(encoding="utf-8"))
        name.unlink()
    if current.exists():
        # A folder without identity.json: left over from an instance that was never enrolled.
        current.rename(data_dir / f"{FOLDER}.old-{os.urandom(4).hex()}")
    following.rename(current)
    keyfile.sync_folder(data_dir)


def _archive(data_dir: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    # The journal first: while the old identity still stands, a start after a power cut comes here again.
    for name in (*JOURNAL_FILES, FOLDER):
        if (data_dir / name).exists():
            os.replace(data_dir / name, target / name)
    keyfile.sync_folder(target)


def archives(data_dir: Path) -> Iterator[Path]:
    """Folders of former stations of this machine whose journal is not drained yet."""
    for folder in sorted((data_dir / ARCHIVE).glob("*")):
        complete = (folder / FOLDER / IDENTITY_FILE).exists() and (folder / JOURNAL_FILES[0]).exists()
        if complete and not is_drained(folder):
            yield folder


def is_drained(folder: Path) -> bool:
    return (folder / DRAINED_FILE).exists()


def mark_drained(folder: Path, at_ms: int) -> None:
    """The centre has acknowledged everything of an archived journal; its files stay."""
    keyfile.write_durably(folder / DRAINED_FILE, canonical({"drained_ms": at_ms}))
