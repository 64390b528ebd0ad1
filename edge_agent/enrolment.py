"""Enrol this machine: ask the centre with a key that is already on the disk, then become what it answers.

Three ways, because they differ in what happens to the journal: a machine that is no station yet; the same station
again, when the centre has lost it (`again`: same key, same journal); another station (`new_station`: a new key, the
old journal is archived and drained as the old station).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from edge_agent import identity
from edge_agent.config import AgentConfig
from edge_agent.lock import InstanceLock
from edge_agent.sync.client import CentreClient, Route
from shared import PROTOCOL_VERSION, __version__
from shared.clock import Clock, SystemClock
from shared.errors import BadInput, ConfigError, Conflict
from shared.ids import check_code
from shared.protocol.messages import EnrollReply, EnrollRequest

CODE_MIN_CHARS, CODE_MAX_CHARS = 16, 200
"""As `EnrollRequest` takes them; told here in the words of whoever typed one."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What this machine is now."""

    station: str
    store: str
    is_waiting: bool


def versions() -> dict[str, str]:
    """What the centre is told about this build."""
    return {
        "agent": __version__,
        "protocol": str(PROTOCOL_VERSION),
        "python": platform.python_version(),
        "system": platform.system(),
    }


async def enroll(
    config: AgentConfig,
    code: str,
    *,
    station: str | None = None,
    again: bool = False,
    new_station: bool = False,
    clock: Clock | None = None,
) -> Enrolled:
    """Enrol with *code*; asking again after a lost answer gets the same answer.

    Raises:
        ConfigError: no server_url.
        Conflict: already enrolled and neither `again` nor `new_station` said; or the answer is for another station.
        Busy: the agent runs.
    """
    if again and new_station:
        raise BadInput("--again and --new-station exclude each other")
    with InstanceLock(config.data_dir):
        identity.finish_change(config.data_dir)
        current = identity.load(config.data_dir) if identity.is_enrolled(config.data_dir) else None
        if current is not None and not (again or new_station):
            raise Conflict(
                f"this instance is station {current.station} of store {current.record.store} already",
                hint="--again if the centre has forgotten it, --new-station to become another one; "
                "a second station on this PC is an instance of its own: --instance NAME",
            )
        if current is None and again:
            raise ConfigError(
                "there is no identity here to enrol again", hint="enrol without --again", code="not-enrolled"
            )
        server_url = config.server_url or (current.record.server_url if current else "")
        if not server_url:
            raise ConfigError("no centre is named", hint="give --server URL, or set server_url")
        if not CODE_MIN_CHARS <= len(code.strip()) <= CODE_MAX_CHARS:
            raise BadInput(
                f'"{code.strip()[:CODE_MAX_CHARS]}" is no enrolment code',
                hint="copy the whole code that HQ gave; HQ makes one with `counterflow-central stations add`",
                code="unknown-code",
            )
        key = current.key if current is not None and again else identity.key_for_enrolment(config.data_dir)
        request = EnrollRequest(
            code=code.strip(),
            public_key=key.public_key.hex(),
            station=station,
            host=platform.node()[:200],
            versions=versions(),
        )
        reply = await _ask(Route(server_url, config.ca_file, config.proxy), request)
        check_code(reply.station, "station")  # it will name folders
        record = identity.IdentityRecord(
            station=reply.station,
            store=reply.store,
            zone=reply.zone,
            currency=reply.currency,
            centre=reply.centre,
            server_url=server_url,
        )
        if current is not None and again:
            if reply.station != current.station:
                raise Conflict(
                    f"this code is for station {reply.station}, and this is {current.station}",
                    hint="to become another station use --new-station",
                )
            identity.renew(config.data_dir, record)
        else:
            identity.adopt(config.data_dir, record, clock or SystemClock())
        return Enrolled(reply.station, reply.store, reply.state == "waiting")


async def _ask(route: Route, request: EnrollRequest) -> EnrollReply:
    client = CentreClient(route)
    try:
        return await client.enroll(request)
    finally:
        await client.close()
