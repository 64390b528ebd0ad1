"""The console script. `run` goes straight to `edge_agent/run.py`; every other command is in
`edge_agent/commands.py`, whose command-line library alone would cost the running agent 3 MB.

Exit codes: 0 well, 1 refused or found wrong, 2 misused, 69 not reachable, 75 in use by another process, 78 settings
or enrolment missing. An error is one line on stderr and what to do about it, never a trace.
"""

from __future__ import annotations

import sys

from edge_agent.run import run
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
        sys.stderr.write(f"{error.told()}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
