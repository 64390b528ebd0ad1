"""Which scopes a station reads, and the manifest that tells it how they stand.

A station belongs to its store and its groups; `shared.catalog.scopes` says which scopes follow, the strongest first.
Invariant: a station reads only its own scopes (I16), decided from the rows of this very moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import station_scopes
from central.db.catalog import ScopeState
from central.db.database import Database
from central.db.station_scopes import Member, Offered
from central.together import Together
from shared.canonical import canonical
from shared.catalog.scopes import scopes_of
from shared.clock import Clock
from shared.errors import NotAllowed, NotAuthenticated
from shared.protocol.messages import Manifest, ScopeOffer, SnapshotOffer

V = TypeVar("V")
SETTLED_FOR_MS = 40 * 86_400_000
"""Epochs that moved within it are told as settled; stations keep their documents for 35 days."""


@dataclass(frozen=True, slots=True)
class StationView:
    """A station's scopes at one moment. `names` are all it may read, `offers` those that exist."""

    member: Member
    names: tuple[str, ...]
    offers: dict[str, tuple[ScopeState, Offered | None]]

    @property
    def tag(self) -> str:
        """Changes whenever there is something to fetch or to drop, or HQ says "sync now"."""
        stands = [[name, state.gen.hex(), state.head] for name, (state, _) in self.offers.items()]
        return hashlib.sha256(canonical([stands, list(self.names), self.member.poke])).hexdigest()[:24]

    def state(self, scope: str) -> ScopeState | None:
        """The scope's state, None where nothing was ever published into it.

        Raises:
            NotAllowed: the station does not belong to it.
        """
        if scope not in self.names:
            raise NotAllowed(
                f'the station {self.member.membership.station} does not belong to the scope "{scope}"',
                hint="fetch the manifest again; scopes that it does not name are dropped",
            )
        found = self.offers.get(scope)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class TaggedManifest:
    """A manifest's body and its entity tag: the wake-up tag, a dot, and a tag of all that wakes nobody."""

    body: bytes
    tag: str


def wake_part(tag: str) -> str:
    """The part of a manifest's entity tag (as it came back, quoted or not) that a wake-up compares."""
    return tag.removeprefix("W/").strip('"').partition(".")[0]


class StationScopes:
    """Answers for stations, many at once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._views: Together[int, None, StationView | None] = Together(self._read_views)
        self._manifests: Together[int, None, TaggedManifest | None] = Together(self._read_manifests)

    async def view(self, station_no: int) -> StationView:
        return _known(await self._views.ask(station_no, None))

    async def manifest(self, station_no: int) -> TaggedManifest:
        return _known(await self._manifests.ask(station_no, None))

    async def _read_views(self, asked: Collection[int]) -> Mapping[int, StationView | None]:
        async with self._database.read() as connection:
            return await self._views_of(connection, asked)

    async def _read_manifests(self, asked: Collection[int]) -> Mapping[int, TaggedManifest | None]:
        since_ms = self._clock.now_ms() - SETTLED_FOR_MS
        async with self._database.read() as connection:
            views = await self._views_of(connection, asked)
            settled = await station_scopes.settled(self._database, connection, list(asked), since_ms)
        return {
            station_no: _manifest(view, settled[station_no]) if view else None
            for station_no, view in views.items()
        }

    async def _views_of(
        self, connection: AsyncConnection, asked: Collection[int]
    ) -> dict[int, StationView | None]:
        members = await station_scopes.members(self._database, connection, list(asked))
        names = {station_no: tuple(scopes_of(member.membership)) for station_no, member in members.items()}
        every = sorted({name for own in names.values() for name in own})
        offers = await station_scopes.scope_offers(self._database, connection, every)
        views: dict[int, StationView | None] = dict.fromkeys(asked)
        for station_no, member in members.items():
            own = names[station_no]
            views[station_no] = StationView(
                member, own, {name: offers[name] for name in own if name in offers}
            )
        return views


def _known(answer: V | None) -> V:
    if answer is None:
        raise NotAuthenticated("the centre does not know this station any more", hint="enrol it again")
    return answer


def _manifest(view: StationView, settled: dict[str, int]) -> TaggedManifest:
    offers = []
    for rank, name in enumerate(view.names):
        if name in view.offers:
            state, offered = view.offers[name]
            snapshot = (
                SnapshotOffer(sha256=offered.sha256.hex(), seq=offered.seq, bytes=offered.bytes)
                if offered
                else None
            )
            offers.append(
                ScopeOffer(
                    scope=name,
                    gen=state.gen.hex(),
                    rank=rank,
                    head=state.head,
                    count=state.digest.count,
                    digest=state.digest.hex,
                    snapshot=snapshot,
                )
            )
    member = view.member
    manifest = Manifest(station=member.membership.station, scopes=offers, settled=settled, poke=member.poke)
    body = canonical(manifest.model_dump(mode="json"))
    return TaggedManifest(body, f"{view.tag}.{hashlib.sha256(body).hexdigest()[:16]}")
