"""Logs: one event and its fields per line, as JSON for machines or as text for people, on standard error.

Modules log through the standard library (`logger.info("event", extra={...})`); only how a line looks is decided here.
"""

from __future__ import annotations

import logging
import sys

import structlog

from central.config import Config


def configure(config: Config) -> None:
    """Send everything that is logged to standard error in the chosen form."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if config.log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(config.log_level.upper())
    logging.getLogger("alembic").setLevel("WARNING")
