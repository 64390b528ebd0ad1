"""What the downward line decides, fact by fact."""

from __future__ import annotations

from edge_agent.sync import catalog_plan as plan
from edge_agent.sync.catalog_plan import Doubt, LocalScope, next_catalog_step
from shared.protocol.messages import ScopeOffer, SnapshotOffer

SNAPSHOT = SnapshotOffer(sha256="cc" * 32, seq=90, bytes=1)


def offer(
    scope: str = "base", *, rank: int = 0, snapshot: SnapshotOffer | None = None, **fields: object
) -> ScopeOffer:
    told = {"gen": "aa", "head": 100, "count": 50, "digest": "dd"} | fields
    return ScopeOffer(scope=scope, rank=rank, snapshot=snapshot, **told)  # type: ignore[arg-type]


def have(
    seq: int = 100, *, gen: str = "aa", rank: int = 0, count: int = 50, digest: str = "dd"
) -> LocalScope:
    return LocalScope(gen, seq, rank, count, digest)


def test_nothing_to_do_when_all_digests_fit() -> None:
    """At the head with the centre's digest a scope is done."""
    assert next_catalog_step({"base": have()}, [offer()]) == plan.Settled()


def test_scopes_that_are_not_offered_go_first() -> None:
    """A row must not be found any more in a group that the station has left."""
    assert next_catalog_step({"base": have(1), "group/G": have()}, [offer()]) == plan.DropScopes(("group/G",))


def test_changed_precedence_is_taken_over() -> None:
    """Ranks move without any row moving."""
    assert next_catalog_step({"base": have(rank=1)}, [offer(rank=2)]) == plan.Rerank((("base", 2),))


def test_weakest_scope_is_loaded_first() -> None:
    """A base is there before its exceptions."""
    offers = [offer("group/G", rank=0), offer("base", rank=1)]
    assert next_catalog_step({}, offers) == plan.LoadChanges(offers[1], 0, replace=True)


def test_new_scope_is_loaded_from_the_snapshot_where_there_is_one() -> None:
    """Nothing here, another generation, or a cursor above the head: all rows anew."""
    offered = offer(snapshot=SNAPSHOT)
    for local in ({}, {"base": have(gen="bb")}, {"base": have(seq=101)}):
        assert next_catalog_step(local, [offered]) == plan.LoadSnapshot(offered)


def test_station_that_is_far_behind_takes_the_snapshot() -> None:
    """More changes than rows: the file is less work; a little behind: the changes."""
    far = offer(head=5_000, count=2_000, snapshot=SnapshotOffer(sha256="cc" * 32, seq=4_900, bytes=1))
    assert next_catalog_step({"base": have(2_999)}, [far]) == plan.LoadSnapshot(far)
    assert next_catalog_step({"base": have(3_000)}, [far]) == plan.LoadChanges(far, 3_000, replace=False)
    assert next_catalog_step({"base": have(4_950)}, [far]) == plan.LoadChanges(far, 4_950, replace=False)


def test_differing_digest_means_whole_load_once_and_then_distrust() -> None:
    """First the scope is loaded whole; if it differs still, an alarm, and no third try."""
    local = {"base": have(digest="ee")}
    assert next_catalog_step(local, [offer()]) == plan.LoadChanges(offer(), 0, replace=True)
    assert next_catalog_step(local, [offer()], {"base": Doubt.MISFIT}) == plan.LoadChanges(
        offer(), 0, replace=True
    )
    assert next_catalog_step(local, [offer()], {"base": Doubt.RELOADED}) == plan.Distrust(offer())
    assert next_catalog_step(local, [offer()], {"base": Doubt.LOST}) == plan.Distrust(offer())


def test_distrusted_scope_holds_up_no_other() -> None:
    """One bad scope, and the rest goes on."""
    bad, good = offer("base", rank=1), offer("group/G", rank=0)
    local = {"base": have(digest="ee", rank=1), "group/G": have(99)}
    assert next_catalog_step(local, [bad, good], {"base": Doubt.LOST}) == plan.LoadChanges(
        good, 99, replace=False
    )


def test_doubt_grows_with_each_misfit_and_a_new_offer_gives_another_chance() -> None:
    """None, misfit, reloaded, lost; what is offered anew is tried with as little as that takes."""
    assert plan.after_misfit(Doubt.NONE) is Doubt.MISFIT
    assert plan.after_whole(Doubt.MISFIT) is Doubt.RELOADED
    assert plan.after_misfit(Doubt.RELOADED) is Doubt.LOST
    assert plan.after_misfit(Doubt.MISFIT) is Doubt.LOST
    assert plan.after_news(Doubt.LOST, offer(), offer()) is Doubt.LOST
    assert plan.after_news(Doubt.LOST, offer(), offer(head=101)) is Doubt.RELOADED
    assert plan.after_news(Doubt.LOST, offer(), offer(gen="bb")) is Doubt.NONE
