"""What the interpreter and the C library are told when a server starts: memory that is used again is kept.

Both matter to throughput only; nothing here changes what the centre does.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT_BYTES = 64 << 20
_COLLECT_AFTER = 50_000
"""New objects between two looks for cycles: a push of 500 sales makes as many, and all die by reference count."""


def tune() -> None:
    """Call once, when everything is loaded and nothing is served yet."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    if sys.platform == "linux":
        # A buffer for decompression is given back to the kernel and taken again at every request otherwise, with an
        # interrupt of the other processors each time.
        with contextlib.suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, 4 * _KEPT_BYTES)
