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
    "apply.before_commit",
    "apply.after_commit",
    "delivery.before_rename",
    "delivery.after_rename",
    "publish.before_commit",
)

_name, _, _nth = os.environ.get("COUNTERFLOW_FAULTPOINT", "").partition(":")
_left = int(_nth or 1)


def reach(name: str) -> None:
    """Die here, without any clean-up, if the environment names this place."""
    global _left
    if _name and name == _name:
        _left -= 1
        if _left <= 0:
            # TerminateProcess on Windows, SIGKILL elsewhere: no handler runs, nothing is flushed.
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
