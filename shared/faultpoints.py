"""Named places where a test may kill the process: `COUNTERFLOW_FAULTPOINT=name` or `name:n` (the n-th time).

The names are the durable steps of the two lines. In normal running `reach` is one comparison.
"""

from __future__ import annotations

import os
import signal

NAMES = (
    "journal.before_commit",
    "journal.after_commit",
    "push.after_send",
    "push.before_cursor",
    "catalog.stage",
    "catalog.apply",
    "snapshot.copy",
    "intake.before_commit",
    "intake.after_commit",
    "foreign.before_commit",
    "foreign.after_commit",
    "catalog_records.before_position",
    "apply.before_commit",
    "apply.after_commit",
    "delivery.before_rename",
    "delivery.after_rename",
    "publish.before_commit",
)


class _Fuse:
    """What is left until the process dies; one per process, set by the environment at the start."""

    def __init__(self, setting: str) -> None:
        self.name, _, nth = setting.partition(":")
        self.left = int(nth or 1)


_fuse = _Fuse(os.environ.get("COUNTERFLOW_FAULTPOINT", ""))


def reach(name: str) -> None:
    """Die here, without any clean-up, if the environment names this place."""
    if _fuse.name == name:
        _fuse.left -= 1
        if _fuse.left <= 0:
            # TerminateProcess on Windows, SIGKILL elsewhere: no handler runs, nothing is flushed.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
