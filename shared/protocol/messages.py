"""Messages per endpoint, in the order a station meets them. Shapes only; what they mean stands in docs/protocol.

Bytes travel as lower-case hex, times as milliseconds since 1970 UTC (`_ms`), and unknown fields are kept.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, SkipValidation

from shared.documents.fields import Record

Hex = str

# ---- POST /v1/enroll ----


class EnrollRequest(Record):
    """A code from HQ and the public key that the station made and stored first."""

    code: str = Field(min_length=16, max_length=200)
    public_key: Hex = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519")
    station: str | None = Field(
        None, max_length=40, description="wished code, for a code that is for a group"
    )
    host: str = Field("", max_length=200)
    versions: dict[str, str] = Field(default_factory=dict)


class EnrollReply(Record):
    """Who the station is from now on. `state`: `active`, or `waiting` until HQ approves."""

    station: str
    store: str
    zone: str
    currency: str
    state: str
    centre: str = Field(description="random id of the centre; the station refuses another one's answers")


# ---- GET /v1/hello, POST /v1/session ----


class Hello(Record):
    nonce: str
    time_ms: int
    centre: str
    versions: dict[str, Any]
    limits: dict[str, int]


class EpochClaim(Record):
    """An epoch that is not fully safe yet, as the station has it."""

    epoch: Hex = Field(pattern=r"^[0-9a-f]{32}$")
    last: int = Field(ge=0)
    head: Hex = Field(pattern=r"^[0-9a-f]{64}$")
    parent: Hex | None = Field(None, description="the epoch it followed")
    parent_last: int | None = None
    parent_head: Hex | None = None


class SessionRequest(Record):
    station: str = Field(max_length=40)
    public_key: Hex = Field(pattern=r"^[0-9a-f]{64}$")
    nonce: str = Field(max_length=200)
    current_epoch: Hex = Field(pattern=r"^[0-9a-f]{32}$")
    epochs: list[EpochClaim] = Field(max_length=10_000)
    drain: bool = Field(
        False, description="an archived journal being emptied; it takes no part in the check for copies"
    )
    versions: dict[str, str] = Field(default_factory=dict)
    clock_ms: int
    signature: Hex = Field(pattern=r"^[0-9a-f]{128}$")


class EpochState(Record):
    """An epoch as the centre has it; `last` 0 when it has never seen it."""

    epoch: Hex
    last: int
    head: Hex
    safe_seq: int
    safe_head: Hex


class SessionReply(Record):
    """`other_epochs` are those of this station that it did not name and that are young enough to be read back (R7)."""

    token: str
    expires_in_s: int
    epochs: list[EpochState]
    other_epochs: list[EpochState]
    last_number: int
    time_ms: int
    quarantined: bool
    minimum_version: str
    centre: str


# ---- POST /v1/journal ----


class PushEnvelope(Record):
    """The first line of a push; header and payload lines follow."""

    epoch: Hex = Field(pattern=r"^[0-9a-f]{32}$")
    first_seq: int = Field(ge=1)
    prev_head: Hex = Field(pattern=r"^[0-9a-f]{64}$")
    count: int = Field(ge=1)
    last_head: Hex = Field(pattern=r"^[0-9a-f]{64}$")
    signature: Hex = Field(pattern=r"^[0-9a-f]{128}$")
    parent: tuple[Hex, int, Hex] | None = None
    damaged: dict[str, tuple[Hex, Hex]] = Field(
        default_factory=dict,
        description="seq -> recorded (header hash, payload hash); its two lines are base64",
    )


class PushReply(Record):
    acked_seq: int
    acked_head: Hex
    safe_seq: int
    safe_head: Hex
    held: bool = Field(False, description="kept, but not applied until HQ decides")


# ---- GET /v1/manifest, changes, snapshots, wait; POST /v1/report ----


class SnapshotOffer(Record):
    sha256: Hex
    seq: int
    bytes: int


class ScopeOffer(Record):
    """A scope of this station. Where a key stands in several, the lowest `rank` wins."""

    scope: str
    gen: Hex
    rank: int
    head: int
    count: int
    digest: Hex
    snapshot: SnapshotOffer | None = None


class Manifest(Record):
    """`settled` tells per epoch the seq up to which nothing is still new. `poke` counts HQ's "sync now" calls."""

    station: str
    scopes: list[ScopeOffer]
    settled: dict[Hex, int]
    poke: int = 0


class ChangesEnvelope(Record):
    """The first line of a page of changes; one payload line for each of `rows` follows.

    `rows` are (seq, entity, key, version) in seq order, version null for a tombstone.
    `count` and `digest` describe the scope at `head` and are there on the last page only.
    """

    scope: str
    gen: Hex
    after: int
    up_to_date: bool
    head: int
    count: int | None = None
    digest: Hex | None = None
    # Not looked at one by one: the digest proves them, and a first load has 100,000.
    rows: SkipValidation[list[tuple[int, str, str, Hex | None]]]


class ScopeReport(Record):
    scope: str
    gen: Hex
    seq: int
    count: int
    digest: Hex


class DayTotal(Record):
    """What one station took in one payment type on one business date."""

    business_date: str
    type: str
    currency: str
    count: int
    amount_minor: int


class Report(Record):
    """What a station tells HQ about itself, after each change and at least every few minutes."""

    scopes: list[ScopeReport] = Field(max_length=1_000)
    backlog: int = Field(ge=0, description="documents not yet acknowledged")
    oldest_unsent_ms: int | None = None
    day_totals: list[DayTotal] = Field(default_factory=list, max_length=1_000)
    disk_free_bytes: int | None = None
    clock_ms: int
    offset_ms: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    alarms: list[str] = Field(default_factory=list, max_length=100)
    poke: int = 0


class Limits:
    """The limits that `hello` tells; one place for both sides' defaults."""

    NONCE_S = 60
    TOKEN_S = 600
    PAGE_ROWS = 5_000
    WAIT_S = 55
