"""`counterflow-agent run`: its options, and the agent served until it is asked to stop.

It stays in memory for months, so nothing of the command-line library is imported here.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path


def run_options() -> argparse.ArgumentParser:
    """What `counterflow-agent run` takes."""
    parser = argparse.ArgumentParser(
        prog="counterflow-agent run", description="Run the agent until it is asked to stop."
    )
    parser.add_argument("--instance", help="which station's agent on this machine")
    parser.add_argument("--config", type=Path, help="settings file (TOML)")
    parser.add_argument("--data-dir", type=Path, help="data folder, above the settings file")
    parser.add_argument("--server", help="URL of the centre, above the enrolment's")
    parser.add_argument("--port", type=int, help="port of the local API; 0 for a free one")
    return parser


def run(arguments: Sequence[str]) -> None:
    """`counterflow-agent run`: serve until asked to stop."""
    given = run_options().parse_args(arguments)

    import edge_agent.lean  # noqa: F401 - first: what it says of aiohttp
    from edge_agent import config
    from edge_agent.agent import serve

    settings = config.load(
        given.instance, given.config, data_dir=given.data_dir, server_url=given.server, local_port=given.port
    )
    asyncio.run(serve(settings))
