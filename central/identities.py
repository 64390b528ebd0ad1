"""Who calls: a station by its session, a person or a program by an API key; `registry` and `keys` say so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StationIdentity:
    """Who a session token names, checked against the station's row."""

    station_no: int
    code: str
    store_no: int
    key_no: bytes  # public key
    retired: bool = False  # of a machine that was replaced: its documents are welcome, its word is not


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    """Whose API key it is; `who` stands in the audit trail."""

    who: str
    role: str
    consumer: str | None = None
    source: str | None = None
    outlet: str | None = None
