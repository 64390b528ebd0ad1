"""Log as JSON lines on stderr: one event and its fields, for a service's log that machines read too."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson

from shared.clock import Clock, rfc3339

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`{"at": ..., "level": "info", "event": "documents_pushed", "count": 37}`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": rfc3339(self._clock.now_ms()),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


def set_up(level: str, clock: Clock) -> None:
    """Send the whole process's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(clock))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Every request of the till in the log would be the loudest thing in it.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
