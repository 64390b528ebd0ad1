"""catalog.db: what is applied, what is refused, and how a lost file comes back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from edge_agent.db import catalog_read as read
from edge_agent.db.catalog import Catalog, CatalogLost, schema_version
from edge_agent.db.catalog_changes import NewRows, changes_of
from edge_agent.db.catalog_pages import DigestDiffers
from edge_agent.lookup import search_expression
from shared.catalog.changes import Change
from shared.digest import Digest
from shared.errors import CannotStore, DamagedData, Unavailable
from tests.support.catalog_builder import ScopeLog, drop, price, product, put


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    catalog = await Catalog.open(tmp_path / "catalog.db")
    yield catalog
    await catalog.close()


async def follow(
    catalog: Catalog, log: ScopeLog, *, rank: int = 0, rows_max: int = 5_000, replace: bool = False
) -> None:
    """Bring the catalog to what the log has: by changes after its cursor, or built anew from nothing."""
    known = (await catalog.scopes()).get(log.scope)
    if known is None or replace:
        build = await catalog.begin_build(log.scope, log.gen)
        after, done = build.seq, False
        while not done:
            page, lines = log.page(after, rows_max)
            after, done = page.rows[-1][0] if page.rows else page.head, page.up_to_date
            await catalog.build(log.scope, after, NewRows(build.scope_no, changes_of(page.rows, lines)))
        await catalog.finish_build(page, rank)
        return
    after = await catalog.staged_to(log.scope, log.gen, known.seq)
    page, lines = log.page(after, rows_max)
    while not page.up_to_date:
        await catalog.stage(page, lines)
        page, lines = log.page(page.rows[-1][0], rows_max)
    await catalog.apply_changes(page, lines)


async def load(catalog: Catalog, log: ScopeLog, folder: Path, *, rank: int = 0) -> None:
    file, offered = log.snapshot(folder)
    await catalog.load_snapshot(file, log.offer(rank, offered))


async def barcode_hits(catalog: Catalog, barcode: str) -> list[tuple[str, str | None, str | None]]:
    return [(hit.product.key, hit.variant, hit.pack) for hit in await catalog.read(read.by_barcode, barcode)]


async def names(catalog: Catalog, text: str) -> list[str]:
    hits, complete = await catalog.read(read.by_name, search_expression(text), 50)
    assert complete
    return sorted(hit.product.key for hit in hits)


def delete(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """What a till can find, without the numbers under which it is kept."""
    connection = sqlite3.connect(path)
    seen = {
        "rows": "SELECT scope, entity, key, version, payload FROM rows JOIN scopes USING (scope_no)",
        "products": "SELECT scope, key, code, name, measured FROM products JOIN scopes USING (scope_no)",
        "barcodes": "SELECT barcode, scope, key, product, variant, pack FROM barcodes JOIN scopes USING (scope_no)",
        "prices": "SELECT scope, key, product, variant, pack, price_list, valid_from, valid_until"
        " FROM prices JOIN scopes USING (scope_no)",
    }
    found = {
        name: sorted(connection.execute(statement).fetchall(), key=repr) for name, statement in seen.items()
    }
    connection.close()
    return found


SHOP: Sequence[Change] = (
    product("A1", "Café moulu 250 g", barcodes=["4006381333931"]),
    product(
        "A2",
        "T-Shirt",
        variants=[{"code": "RED", "name": "red", "barcodes": ["96385074"]}],
        packs=[{"code": "BOX", "quantity": "6", "barcodes": ["5449000000996"]}],
    ),
    product("A3", "可口可乐 330ml", measured="12345"),
    price("A1", 499),
    price("A1", 399, valid_from="2026-11-20T00:00:00Z", valid_until="2026-11-27T00:00:00Z"),
    put("unit", {"code": "kg", "name": "kilogram", "decimals": 3}),
)


async def test_snapshot_and_changes_lead_to_the_same_tables(tmp_path: Path) -> None:
    """delta(0..c) = snapshot(c): both ways fill the generic and the typed tables alike."""
    log = ScopeLog("base")
    log.publish(SHOP)
    log.publish(
        [product("A1", "Café moulu 500 g", barcodes=["4006381333931", "40123455"]), drop("product", "A2")]
    )
    by_file, by_rows = await Catalog.open(tmp_path / "file.db"), await Catalog.open(tmp_path / "rows.db")
    await load(by_file, log, tmp_path)
    await follow(by_rows, log, rows_max=2)
    assert await by_file.scopes() == await by_rows.scopes()
    await by_file.close()
    await by_rows.close()
    assert tables(tmp_path / "file.db") == tables(tmp_path / "rows.db")


async def test_changes_after_a_snapshot_equal_a_fresh_load(tmp_path: Path, catalog: Catalog) -> None:
    """delta(a..b) after snapshot(a) = changes(0..b), through renames, moved barcodes, deletions and returns."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await load(catalog, log, tmp_path)
    log.publish([drop("product", "A3"), product("A2", "Polo"), product("A4", "New", barcodes=["96385074"])])
    await follow(catalog, log)
    log.publish([product("A3", "Cola", measured="777"), price("A1", 450), *SHOP[4:5]])
    await follow(catalog, log)
    fresh = await Catalog.open(tmp_path / "fresh.db")
    await follow(fresh, log)
    await fresh.close()
    assert (await catalog.scopes())["base"].digest == log.digest.hex
    assert tables(catalog.path) == tables(tmp_path / "fresh.db")
    assert await barcode_hits(catalog, "96385074") == [("A4", None, None)]


async def test_products_are_found_by_code_barcode_and_name(tmp_path: Path, catalog: Catalog) -> None:
    """A barcode tells the variant or the pack; words of a name match by their beginnings, without case or accents."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await load(catalog, log, tmp_path)
    await catalog.tidy()
    assert (await catalog.read(read.rows_by_key, "product", "A1"))[0].payload["name"] == "Café moulu 250 g"
    assert await barcode_hits(catalog, "96385074") == [("A2", "RED", None)]
    assert await barcode_hits(catalog, "5449000000996") == [("A2", None, "BOX")]
    assert await barcode_hits(catalog, "0") == []
    assert await names(catalog, "MOU cafe") == ["A1"]
    assert await names(catalog, "可乐") == ["A3"]
    assert await names(catalog, "nothing such") == []
    assert [hit.product.key for hit in await catalog.read(read.by_measured, ["12345"])] == ["A3"]


async def test_names_follow_changes(tmp_path: Path, catalog: Catalog) -> None:
    """A renamed product is found by its new name only, a deleted one no more."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await load(catalog, log, tmp_path)
    await catalog.tidy()
    log.publish([product("A1", "Tea"), drop("product", "A3")])
    await follow(catalog, log)
    assert (await catalog.read(read.by_name, search_expression("tea"), 5))[1] is False
    await catalog.tidy()
    assert (await names(catalog, "tea"), await names(catalog, "cafe"), await names(catalog, "可乐")) == (
        ["A1"],
        [],
        [],
    )


async def test_stronger_scope_hides_the_weaker_row_and_its_barcodes(catalog: Catalog) -> None:
    """Where one key stands in two scopes, nothing of the weaker row is found; without the stronger it is again."""
    base, group = ScopeLog("base"), ScopeLog("group/G")
    base.publish([product("A1", "Plain", barcodes=["111", "222"])])
    group.publish([product("A1", "Special", barcodes=["222"])])
    await follow(catalog, base, rank=1)
    await follow(catalog, group, rank=0)
    await catalog.tidy()
    assert await barcode_hits(catalog, "111") == []
    assert (await catalog.read(read.by_barcode, "222"))[0].product.payload["name"] == "Special"
    assert [row.payload["name"] for row in await catalog.read(read.list_entity, "product", "", 10)] == [
        "Special"
    ]
    await catalog.set_ranks({"base": 0, "group/G": 1})
    assert await barcode_hits(catalog, "111") == [("A1", None, None)]
    await catalog.set_ranks({"base": 1, "group/G": 0})
    await catalog.drop_scopes(["group/G"])
    assert await barcode_hits(catalog, "111") == [("A1", None, None)]
    await catalog.tidy()
    assert (await names(catalog, "plain"), await names(catalog, "special")) == (["A1"], [])


async def test_entity_is_listed_in_pages_over_all_scopes(catalog: Catalog) -> None:
    """Pages by key run through all scopes and name each key once."""
    base, group = ScopeLog("base"), ScopeLog("group/G")
    base.publish([put("unit", {"code": f"U{i:02d}", "name": "weak"}) for i in range(0, 20, 2)])
    group.publish([put("unit", {"code": f"U{i:02d}", "name": "strong"}) for i in range(0, 20, 3)])
    await follow(catalog, base, rank=1)
    await follow(catalog, group, rank=0)
    seen: list[tuple[str, str]] = []
    while page := await catalog.read(read.list_entity, "unit", seen[-1][0] if seen else "", 4):
        seen += [(row.key, row.payload["name"]) for row in page]
    expected = {f"U{i:02d}": "weak" for i in range(0, 20, 2)} | {
        f"U{i:02d}": "strong" for i in range(0, 20, 3)
    }
    assert seen == sorted(expected.items())


async def test_changes_that_do_not_fit_the_digest_are_not_applied(catalog: Catalog) -> None:
    """One changed byte in a payload and the scope stays in its last good state, with nothing left over."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await follow(catalog, log)
    before, content = await catalog.scopes(), tables(catalog.path)
    log.publish([product("A1", "Cake"), product("A9", "Bread")])
    page, lines = log.page(before["base"].seq, 10)
    lines[0] = lines[0].replace(b"Cake", b"Fake")
    with pytest.raises(DigestDiffers):
        await catalog.apply_changes(page, lines)
    assert (await catalog.scopes(), tables(catalog.path)) == (before, content)
    await follow(catalog, log)
    assert (await catalog.scopes())["base"].digest == log.digest.hex


async def test_snapshot_that_does_not_fit_its_digest_is_not_applied(tmp_path: Path, catalog: Catalog) -> None:
    """A file whose rows are not what it says, or of another scope, or no database at all, changes nothing."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await load(catalog, log, tmp_path)
    before = await catalog.scopes()
    log.publish([product("A9", "Bread")])
    file, offered = log.snapshot(tmp_path)
    wrong = sqlite3.connect(file)
    wrong.execute("DELETE FROM rows WHERE key = 'A1'")
    wrong.commit()
    wrong.close()
    with pytest.raises(DamagedData, match="holds 6 rows"):
        await catalog.load_snapshot(file, log.offer(0, offered))
    other = ScopeLog("group/G")
    with pytest.raises(DamagedData, match="is of scope group/G"):
        await catalog.load_snapshot(other.snapshot(tmp_path)[0], log.offer(0, offered))
    file.write_bytes(b"<html>" * 1_000)
    with pytest.raises(DamagedData, match="cannot be read"):
        await catalog.load_snapshot(file, log.offer(0, offered))
    assert await catalog.scopes() == before
    assert await barcode_hits(catalog, "4006381333931") == [("A1", None, None)]


async def test_scope_is_not_seen_before_all_its_pages_are_there(tmp_path: Path) -> None:
    """Built page by page, also over a restart, and then in its place at once."""
    log = ScopeLog("base")
    log.publish(SHOP)
    catalog = await Catalog.open(tmp_path / "catalog.db")
    build = await catalog.begin_build("base", log.gen)
    page, lines = log.page(0, 2)
    await catalog.build("base", 2, NewRows(build.scope_no, changes_of(page.rows, lines)))
    assert await catalog.scopes() == {}
    assert await catalog.read(read.rows_by_key, "product", "A1") == []
    await catalog.close()
    catalog = await Catalog.open(tmp_path / "catalog.db")
    assert (await catalog.begin_build("base", log.gen)).seq == 2
    await follow(catalog, log)
    assert (await catalog.scopes())["base"].digest == log.digest.hex
    await catalog.close()


async def test_catalog_that_the_disk_does_not_take_is_opened_once_it_does(tmp_path: Path) -> None:
    """Nobody who sells has to wait for it: look-ups are told to come again, and `renew` tries anew."""
    path = tmp_path / "catalog.db"
    path.mkdir()  # as good as a full disk: it cannot be opened
    catalog = await Catalog.open(path)
    with pytest.raises(Unavailable):
        await catalog.scopes()
    with pytest.raises(CannotStore):
        await catalog.renew()
    path.rmdir()
    assert await catalog.renew()
    assert not await catalog.renew()
    log = ScopeLog("base")
    log.publish(SHOP)
    await follow(catalog, log)
    assert (await catalog.scopes())["base"].digest == log.digest.hex
    await catalog.close()


async def test_build_of_another_generation_is_given_up(catalog: Catalog) -> None:
    """Nothing of an older generation gets into the new one."""
    log = ScopeLog("base")
    log.publish(SHOP)
    build = await catalog.begin_build("base", "bb" * 16)
    page, lines = log.page(0, 4)
    await catalog.build("base", 4, NewRows(build.scope_no, changes_of(page.rows, lines)))
    assert (await catalog.begin_build("base", log.gen)).seq == 0
    await follow(catalog, log)
    await catalog.tidy()
    assert await names(catalog, "cafe") == ["A1"]


async def test_build_that_does_not_fit_is_given_up(catalog: Catalog) -> None:
    """The scope that tills see stays when its successor has another digest than the centre."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await follow(catalog, log)
    before = await catalog.scopes()
    build = await catalog.begin_build("base", log.gen)
    page, lines = log.page(0, 10)
    await catalog.build("base", log.head, NewRows(build.scope_no, changes_of(page.rows[1:], lines[1:])))
    with pytest.raises(DigestDiffers):
        await catalog.finish_build(page, 0)
    assert await catalog.scopes() == before
    assert (await catalog.begin_build("base", log.gen)).seq == 0


async def test_till_with_nothing_keeps_what_does_not_fit(tmp_path: Path) -> None:
    """Rows of a doubtful digest are told, but they are better than an empty till."""
    log = ScopeLog("base")
    log.publish(SHOP)
    true = log.digest
    log.digest = Digest(7, 1)
    by_file, by_rows = await Catalog.open(tmp_path / "file.db"), await Catalog.open(tmp_path / "rows.db")
    with pytest.raises(DamagedData):
        await load(by_file, log, tmp_path)
    with pytest.raises(DigestDiffers):
        await follow(by_rows, log)
    for catalog in (by_file, by_rows):
        assert await barcode_hits(catalog, "4006381333931") == [("A1", None, None)]
        assert (await catalog.scopes())["base"].digest == true.hex
        await catalog.close()


async def test_pages_of_changes_are_applied_together(tmp_path: Path, catalog: Catalog) -> None:
    """Until the last page is there a till sees the old state; pages that came are not fetched again."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await follow(catalog, log)
    seq = log.head
    log.publish([product(f"B{i}") for i in range(5)])
    page, lines = log.page(seq, 2)
    await catalog.stage(page, lines)
    assert await catalog.read(read.rows_by_key, "product", "B0") == []
    assert await catalog.staged_to("base", log.gen, seq) == seq + 2
    await follow(catalog, log, rows_max=2)
    assert (await catalog.scopes())["base"].digest == log.digest.hex


async def test_staged_pages_of_another_cursor_are_of_no_use(catalog: Catalog) -> None:
    """Pages of another generation or another beginning are forgotten."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await catalog.stage(*log.page(0, 2))
    assert await catalog.staged_to("base", "bb" * 16, 0) == 0
    await catalog.stage(*log.page(1, 2))
    assert await catalog.staged_to("base", log.gen, 0) == 0


async def test_row_that_changes_while_pages_travel_is_taken_at_its_newest(catalog: Catalog) -> None:
    """A row of the first page that comes again on a later one counts once, as it is now."""
    log = ScopeLog("base")
    log.publish([product(f"A{i}", barcodes=[f"{i:08d}"]) for i in range(6)])
    build = await catalog.begin_build("base", log.gen)
    page, lines = log.page(0, 3)
    await catalog.build("base", 3, NewRows(build.scope_no, changes_of(page.rows, lines)))
    log.publish([product("A0", "Later", barcodes=["77777777"]), drop("product", "A1")])
    await follow(catalog, log)
    assert (await catalog.scopes())["base"].digest == log.digest.hex
    assert await barcode_hits(catalog, "00000000") == []
    assert await barcode_hits(catalog, "77777777") == [("A0", None, None)]
    assert await catalog.read(read.rows_by_key, "product", "A1") == []


async def test_row_that_cannot_be_indexed_is_kept_and_holds_nothing_up(catalog: Catalog) -> None:
    """A newer centre's odd product is carried as a generic row; its neighbours are found."""
    log = ScopeLog("base")
    odd = [Change("product", "X1", b'{"code":5,"name":null}'), Change("price", "X2", b'["?"]')]
    log.publish([*odd, product("A1", barcodes=["123"])])
    await follow(catalog, log)
    assert (await catalog.scopes())["base"].digest == log.digest.hex
    assert (await catalog.read(read.rows_by_key, "product", "X1"))[0].payload == {"code": 5, "name": None}
    assert await barcode_hits(catalog, "123") == [("A1", None, None)]


async def test_entities_that_this_agent_does_not_know_are_carried(catalog: Catalog) -> None:
    """A row of an unknown entity is kept, counted in the digest and found by its key."""
    log = ScopeLog("base")
    log.publish([Change("hologram", "h|1", b'{"depth":3}')])
    await follow(catalog, log)
    assert (await catalog.read(read.rows_by_key, "hologram", "h|1"))[0].payload == {"depth": 3}


async def test_deleted_file_is_noticed_and_begun_anew(tmp_path: Path, catalog: Catalog) -> None:
    """Deleted while running: look-ups go on from what is open, whoever fetches is told, and a new file takes over."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await load(catalog, log, tmp_path)
    told: list[str] = []
    catalog.on_lost = lambda: told.append("lost")
    delete(catalog.path)
    assert await barcode_hits(catalog, "4006381333931") == [("A1", None, None)]
    assert told
    with pytest.raises(CatalogLost):
        await catalog.drop_scopes(["base"])
    assert await catalog.scopes() == {}
    assert await catalog.renew() is False
    await load(catalog, log, tmp_path)
    assert await barcode_hits(catalog, "4006381333931") == [("A1", None, None)]


@pytest.mark.parametrize("content", [b"", b"no database" * 1_000])
async def test_unusable_file_is_replaced_at_the_start(tmp_path: Path, content: bytes) -> None:
    """An empty file or one that is no database is no reason to refuse a start."""
    (tmp_path / "catalog.db").write_bytes(content)
    catalog = await Catalog.open(tmp_path / "catalog.db")
    assert await catalog.scopes() == {}
    await catalog.close()


async def test_file_of_another_schema_is_begun_anew(tmp_path: Path) -> None:
    """There is nothing to migrate in what can be fetched."""
    catalog = await Catalog.open(tmp_path / "catalog.db")
    log = ScopeLog("base")
    log.publish(SHOP)
    await follow(catalog, log)
    await catalog.close()
    connection = sqlite3.connect(tmp_path / "catalog.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    catalog = await Catalog.open(tmp_path / "catalog.db")
    assert await catalog.scopes() == {}
    await catalog.close()


def test_every_change_of_a_table_is_another_schema() -> None:
    """Nobody has to remember a number; a comment alone makes no till fetch its catalog again."""
    before = schema_version("CREATE TABLE a (\n    b INTEGER NOT NULL  -- what\n);")
    assert schema_version("-- a table\nCREATE TABLE a ( b INTEGER NOT NULL );") == before
    assert schema_version("CREATE TABLE a ( b INTEGER NOT NULL, c TEXT );") != before
    assert 0 < before < 2**31


async def test_every_page_of_the_file_may_be_overwritten(tmp_path: Path) -> None:
    """Whatever is damaged: it opens, and either answers or begins anew; it never gets stuck."""
    log = ScopeLog("base")
    log.publish([product(f"A{i}", f"Name {i}", barcodes=[f"{i:08d}"], note="x" * 300) for i in range(60)])
    catalog = await Catalog.open(tmp_path / "catalog.db")
    await follow(catalog, log)
    await catalog.tidy()
    await catalog.close()
    whole = (tmp_path / "catalog.db").read_bytes()
    for start in range(0, len(whole), 4096):
        (tmp_path / "catalog.db").write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        catalog = await Catalog.open(tmp_path / "catalog.db")
        for _ in range(4):
            try:
                await follow(catalog, log, replace=True)
                await catalog.tidy()
                assert await barcode_hits(catalog, "00000007") == [("A7", None, None)]
                break
            except CatalogLost:
                continue
        else:
            pytest.fail(f"damage at {start} was not got over")
        await catalog.close()


async def test_row_changed_by_hand_is_found_by_counting_anew(catalog: Catalog) -> None:
    """The digest of the rows as they are shows what somebody edited."""
    log = ScopeLog("base")
    log.publish(SHOP)
    await follow(catalog, log)
    assert await catalog.recount("base") is True
    by_hand = sqlite3.connect(catalog.path)
    by_hand.execute("""UPDATE rows SET payload = '{"amount_minor":1}' WHERE entity = 'price'""")
    by_hand.commit()
    by_hand.close()
    assert await catalog.recount("base") is False
    assert (await catalog.scopes())["base"].digest != log.digest.hex


async def test_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """What cannot be stored is said, with what to look at."""
    catalog = await Catalog.open(tmp_path / "missing" / "catalog.db")
    with pytest.raises(CannotStore, match="missing"):
        await catalog.renew()
