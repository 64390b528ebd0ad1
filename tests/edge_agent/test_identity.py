"""Identity: the key first, whole changes only, and no journal lost on the way to another name."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent import identity, keyfile
from edge_agent.signing import Signer
from shared.errors import ConfigError
from tests.support.clock import ManualClock


def record(station: str) -> identity.IdentityRecord:
    return identity.IdentityRecord(
        station=station,
        store="S1",
        zone="Europe/Paris",
        currency="EUR",
        centre="c" * 32,
        server_url="http://hq",
    )


def become(data_dir: Path, station: str) -> Signer:
    key = identity.key_for_enrolment(data_dir)
    identity.adopt(data_dir, record(station), ManualClock())
    return key


def test_the_key_of_an_unanswered_enrolment_is_used_again(tmp_path: Path) -> None:
    """A lost answer is asked for again with the same key."""
    first = identity.key_for_enrolment(tmp_path).public_key
    assert identity.key_for_enrolment(tmp_path).public_key == first
    assert not identity.is_enrolled(tmp_path)


def test_enrolled_identity_signs_with_its_key(tmp_path: Path) -> None:
    """What was adopted is what is loaded, and it signs."""
    key = become(tmp_path, "T-1")
    me = identity.load(tmp_path)
    assert me.station == "T-1"
    assert me.public_key == key.public_key
    Ed25519PublicKey.from_public_bytes(me.public_key).verify(me.sign(b"x"), b"x")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's; Windows seals the key instead")
def test_the_key_file_is_private_and_openssl_reads_it(tmp_path: Path) -> None:
    """Mode 0600, and PEM as other tools know it."""
    path = tmp_path / "key.pem"
    seed = bytes(range(32))
    keyfile.store(path, seed)
    assert path.stat().st_mode & 0o777 == 0o600
    told = subprocess.run(
        ["openssl", "pkey", "-in", path, "-text", "-noout"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert keyfile.load(path) == seed


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_broken_key_is_told_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    """The message names the file and the way on."""
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=r"key\.pem") as caught:
        keyfile.load(tmp_path / "key.pem")
    assert "replace code" in caught.value.hint


def test_not_enrolled_is_a_config_error(tmp_path: Path) -> None:
    """Starting without an identity says how to get one, with the exit code of settings."""
    with pytest.raises(ConfigError, match="not enrolled") as caught:
        identity.load(tmp_path)
    assert caught.value.exit_code == 78


def test_another_identity_archives_journal_and_key(tmp_path: Path) -> None:
    """The old journal and the key that signs it stay together, ready to be drained."""
    old = become(tmp_path, "T-1")
    (tmp_path / "journal.db").write_bytes(b"sales of T-1")
    (tmp_path / "journal.db-wal").write_bytes(b"newest sales of T-1")
    become(tmp_path, "T-2")
    assert identity.load(tmp_path).station == "T-2"
    assert not (tmp_path / "journal.db").exists()
    (archive,) = identity.archives(tmp_path)
    former = identity.read(archive / identity.FOLDER)
    assert former.station == "T-1"
    assert former.public_key == old.public_key
    assert (archive / "journal.db-wal").read_bytes() == b"newest sales of T-1"
    identity.mark_drained(archive, 1)
    assert list(identity.archives(tmp_path)) == []


@pytest.mark.parametrize("cut_before", range(6))
def test_a_power_cut_between_the_renames_is_finished_at_the_next_start(
    tmp_path: Path, cut_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the change is cut, the next start is the new station and the old journal is in the archive."""
    become(tmp_path, "T-1")
    for name in identity.JOURNAL_FILES:
        (tmp_path / name).write_bytes(name.encode())
    steps = 0

    class PowerCut(BaseException):
        pass

    real_replace, real_rename = os.replace, Path.rename

    def counted() -> None:
        nonlocal steps
        if steps == cut_before:
            raise PowerCut
        steps += 1

    def replace(source: Path, target: Path) -> None:
        if ".part" not in str(source):
            counted()
        real_replace(source, target)

    def rename(self: Path, target: Path) -> Path:
        counted()
        return real_rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr(Path, "rename", rename)
        with contextlib.suppress(PowerCut):
            become(tmp_path, "T-2")
    assert identity.load(tmp_path).station == "T-2"
    (archive,) = identity.archives(tmp_path)
    assert identity.read(archive / identity.FOLDER).station == "T-1"
    assert all((archive / name).read_bytes() == name.encode() for name in identity.JOURNAL_FILES)
