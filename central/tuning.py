"""What the interpreter is told when a server starts: what is loaded stays, and is not looked at again.

It matters to throughput only; nothing here changes what the centre does.
"""

from __future__ import annotations

import gc

_COLLECT_AFTER = 50_000
"""New objects between two looks for cycles: a push of 500 sales makes as many, and all die by reference count."""


def tune() -> None:
    """Call once, when everything is loaded and nothing is served yet."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
