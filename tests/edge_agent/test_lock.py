"""The instance lock: one owner, and a second one hears who it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.lock import InstanceLock, holder
from shared.errors import Busy


def test_a_second_owner_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    """Two agents on one journal cannot be; the message names the first one's process."""
    with InstanceLock(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(Busy, match=str(os.getpid())) as caught, InstanceLock(tmp_path):
            pass
        assert caught.value.exit_code == 75
    assert holder(tmp_path) is None


def test_the_lock_can_be_taken_again(tmp_path: Path) -> None:
    """What a killed agent left behind stops nobody."""
    (tmp_path / "lock").write_text("999999\n")
    assert holder(tmp_path) is None
    with InstanceLock(tmp_path):
        pass
    with InstanceLock(tmp_path):
        pass
