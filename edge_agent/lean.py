"""Keep the agent small and quick to start: imported before aiohttp, by the process that runs for months.

aiohttp makes two TLS contexts when it is imported and loads the system's certificates into them: 0.15 s and a
megabyte, for contexts that the agent never uses (`edge_agent/sync/client.py` gives its own). While it is imported
here they are made empty; whoever should use one all the same would find no certificate trusted.
"""

from __future__ import annotations

import ssl
from typing import Any

_create, _load = ssl.create_default_context, ssl.SSLContext.set_default_verify_paths


def _empty(*_: Any, **__: Any) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _nothing(_: ssl.SSLContext) -> None:
    pass


ssl.create_default_context = _empty
ssl.SSLContext.set_default_verify_paths = _nothing  # type: ignore[assignment,method-assign]
try:
    import aiohttp.connector  # noqa: F401 - imported for what it does when it is imported
finally:
    ssl.create_default_context = _create
    ssl.SSLContext.set_default_verify_paths = _load  # type: ignore[method-assign]
