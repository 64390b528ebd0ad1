"""Ask the running agent of this instance over its local API, as the command line does.

Standard library only: `status` must answer at once on a slow till, and HTTP to this machine needs no more.
"""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from typing import Any

from shared.canonical import parse_object
from shared.errors import BadInput, ConnectionFailed, CounterflowError

HOST = "127.0.0.1"
"""The local API is for programs of this machine."""
PORT_FILE = "port"
TOKEN_FILE = "token"
TIMEOUT_S = 10.0


async def ask(data_dir: Path, method: str, path: str) -> dict[str, Any]:
    """Perform one request at the agent that runs on *data_dir*.

    Raises:
        ConnectionFailed: no agent runs there, or it does not answer.
        CounterflowError: its own refusal.
    """
    return await asyncio.to_thread(_ask, data_dir, method, path)


def _ask(data_dir: Path, method: str, path: str) -> dict[str, Any]:
    hint = "start the agent's service, or run: counterflow-agent run"
    try:
        port = int((data_dir / PORT_FILE).read_text(encoding="ascii"))
        token = (data_dir / TOKEN_FILE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise ConnectionFailed(f"no agent runs on {data_dir}", hint=hint) from None
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = parse_object(answer.read())
    except (OSError, http.client.HTTPException, BadInput) as error:
        raise ConnectionFailed(f"the agent on port {port} does not answer: {error}", hint=hint) from error
    finally:
        connection.close()
    if answer.status >= 400 and path != "/readyz":
        raise CounterflowError(
            str(body.get("detail", f"status {answer.status}")), hint=str(body.get("hint", ""))
        )
    return body
