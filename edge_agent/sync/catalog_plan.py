"""Decide what the station does next to have the catalog that the centre offers.

The twin of `plan.py` for the way down: facts in, one step out. A cursor stands for rows that are applied: both move
in one transaction, and only to a state whose digest fits. What does not fit is answered by loading that scope whole,
once; if it does not fit still, the last good state is kept and an alarm raised, never an empty catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from shared.protocol.messages import ScopeOffer

SNAPSHOT_FROM_CHANGES = 1_000
"""A station this little behind takes the changes, however small the scope."""


@dataclass(frozen=True, slots=True)
class LocalScope:
    """A scope as catalog.db has it."""

    gen: str
    seq: int
    rank: int
    count: int
    digest: str


class Doubt(IntEnum):
    """What is known against a scope's rows since its digest last fitted at the centre's head."""

    NONE = 0
    MISFIT = 1  # what came did not fit: load the scope whole
    RELOADED = 2  # loaded whole since then
    LOST = 3  # and it did not fit still


def after_misfit(doubt: Doubt) -> Doubt:
    """What came did not fit its digest, and was not applied."""
    return Doubt.MISFIT if doubt is Doubt.NONE else Doubt.LOST


def after_whole(doubt: Doubt) -> Doubt:
    """The scope was loaded whole, and fits what the snapshot or the last page says of itself."""
    return max(doubt, Doubt.RELOADED)


def after_news(doubt: Doubt, old: ScopeOffer, new: ScopeOffer) -> Doubt:
    """The centre offers something else: a lost cause is tried again, with as little as that takes."""
    if doubt is not Doubt.LOST or old == new:
        return doubt
    return Doubt.RELOADED if (old.gen, old.snapshot) == (new.gen, new.snapshot) else Doubt.NONE


@dataclass(frozen=True, slots=True)
class DropScopes:
    """These are not the station's any more: their rows go, whole."""

    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rerank:
    """The precedence of these scopes changed."""

    ranks: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class LoadSnapshot:
    """Replace the scope's rows by the offered snapshot's."""

    offer: ScopeOffer


@dataclass(frozen=True, slots=True)
class LoadChanges:
    """Apply the changes after *after*; `replace` means that the scope's rows are built anew from nothing."""

    offer: ScopeOffer
    after: int
    replace: bool


@dataclass(frozen=True, slots=True)
class Distrust:
    """Loaded whole and it differs still: raise the alarm, keep what was good."""

    offer: ScopeOffer


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing to do until the manifest changes."""


CatalogStep = DropScopes | Rerank | LoadSnapshot | LoadChanges | Distrust | Settled


def next_catalog_step(
    local: Mapping[str, LocalScope], offers: Sequence[ScopeOffer], doubts: Mapping[str, Doubt] | None = None
) -> CatalogStep:
    """The one next step of the downward line, weakest scopes first so that a base is there before its exceptions.

    `Distrust` comes only when no other scope has anything left to do: one bad scope holds up no other.
    """
    absent = tuple(sorted(set(local) - {offer.scope for offer in offers}))
    if absent:
        return DropScopes(absent)
    ranks = tuple(
        (offer.scope, offer.rank)
        for offer in offers
        if offer.scope in local and local[offer.scope].rank != offer.rank
    )
    if ranks:
        return Rerank(ranks)
    lost: Distrust | None = None
    for offer in sorted(offers, key=lambda offer: -offer.rank):
        step = _scope_step(local.get(offer.scope), offer, (doubts or {}).get(offer.scope, Doubt.NONE))
        if isinstance(step, Distrust):
            lost = lost or step
        elif step is not None:
            return step
    return lost or Settled()


def _scope_step(
    have: LocalScope | None, offer: ScopeOffer, doubt: Doubt
) -> LoadSnapshot | LoadChanges | Distrust | None:
    if doubt is Doubt.LOST:
        return Distrust(offer)
    if have is None or have.gen != offer.gen or have.seq > offer.head or doubt is Doubt.MISFIT:
        return _whole(offer)
    if have.seq < offer.head:
        snapshot = offer.snapshot
        # A snapshot is worth it when it saves more changes than the scope has rows.
        if (
            snapshot
            and snapshot.seq > have.seq
            and offer.head - have.seq > max(offer.count, SNAPSHOT_FROM_CHANGES)
        ):
            return LoadSnapshot(offer)
        return LoadChanges(offer, have.seq, replace=False)
    if (have.count, have.digest) == (offer.count, offer.digest):
        return None
    return Distrust(offer) if doubt is Doubt.RELOADED else _whole(offer)


def _whole(offer: ScopeOffer) -> LoadSnapshot | LoadChanges:
    return LoadSnapshot(offer) if offer.snapshot else LoadChanges(offer, 0, replace=True)
