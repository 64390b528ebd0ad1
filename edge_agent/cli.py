"""The console script. `run` stays in memory for months and goes straight to the agent; every other command is in
`edge_agent/commands.py`, whose command-line library alone would cost the running agent 3 MB.

Exit codes: 0 well, 1 refused or found wrong, 2 misused, 69 not reachable, 75 in use by another process, 78 settings
or enrolment missing. An error is one line on stderr and what to do about it, never a trace.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.errors import CounterflowError


def main() -> None:
    """`counterflow-agent`."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["run"]:
            run(arguments[1:])
        else:
            from edge_agent.commands import app

            app()
    except CounterflowError as error:
        sys.stderr.write(f"error: {error.what}\n" + (f"  -> {error.hint}\n" if error.hint else ""))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


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


if __name__ == "__main__":
    main()
