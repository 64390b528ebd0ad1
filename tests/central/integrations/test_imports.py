"""HQ's lists from the folder to the catalog: only real changes, bad rows by their line, all or nothing where asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from central.catalog.publish import Complete, Publisher, PublishResult
from central.db.database import Database
from central.db.tables import catalog as catalog_tables
from central.db.tables.catalog import scope_rows
from central.integrations import imports
from central.integrations.imports import FileImports
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from shared.canonical import parse_object
from shared.catalog.changes import Change
from shared.errors import BadInput
from tests.support.clock import ManualClock
from tests.support.outgoing import open_database


class HQ:
    """A centre that watches a folder."""

    def __init__(self, database: Database, clock: ManualClock, folder: Path) -> None:
        self.database = database
        self.clock = clock
        self.folder = folder
        self.publisher = Publisher(database)
        self.one: Integration

    async def start(self, node: str = "a", publisher: Any = None) -> FileImports:
        """A process, as it is after its start."""
        self.integrations = Integrations(self.database, self.clock)
        await self.integrations.load()
        return FileImports(
            self.database, self.integrations, publisher or self.publisher, self.clock, node=node
        )

    async def drop(self, name: str, content: str, node: FileImports | None = None) -> dict[str, Any]:
        """Put a file there, have it taken, and return its report."""
        node = node or await self.start()
        (self.folder / "in" / name).write_text(content)
        while not await node.step(self.one):
            self.clock.move(1)
        return self.report(name)

    def report(self, name: str) -> dict[str, Any]:
        stem, _, suffix = name.rpartition(".")
        newest = max(
            self.folder.glob(f"*/{stem}*.{suffix}.report.json"), key=lambda path: path.stat().st_mtime_ns
        )
        report: dict[str, Any] = json.loads(newest.read_text())
        return report | {"where": newest.parent.name}

    async def catalog(self, entity: str) -> dict[str, dict[str, Any]]:
        """scope and key -> row, of what is live."""
        async with self.database.read() as connection:
            scopes = {
                row.scope_no: row.scope for row in await connection.execute(catalog_tables.scopes.select())
            }
            rows = (await connection.execute(scope_rows.select())).all()
        return {
            f"{scopes[row.scope_no]} {row.key}": parse_object(row.payload)
            for row in rows
            if row.entity == entity and row.payload is not None
        }


async def start_hq(database_url: str, folder: Path) -> HQ:
    clock = ManualClock()
    hq = HQ(await open_database(database_url, clock), clock, folder / "hq")
    await hq.start()
    hq.one = await hq.integrations.create("hq", "drop_folder", {"folder": str(hq.folder), "settle_s": 1}, [])
    return hq


@pytest.fixture
async def hq(tmp_path: Path) -> AsyncIterator[HQ]:
    hq = await start_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path)
    yield hq
    await hq.database.close()


@pytest.fixture
async def any_hq(database_url: str, tmp_path: Path) -> AsyncIterator[HQ]:
    """The same on both databases, for what depends on them."""
    hq = await start_hq(database_url, tmp_path)
    yield hq
    await hq.database.close()


PRODUCTS = "#counterflow entity=product {}\ncode,name\n"
PRICES = "#counterflow entity=price scope=pricelist/P mode=complete {}\nproduct,amount,currency\n"


async def test_a_list_is_published_and_reported(any_hq: HQ):
    """Rows go to the catalog, the file to done/, and the report says what changed."""
    report = await any_hq.drop("p.csv", PRODUCTS.format("") + "A,Apple\nB,Bread\n")
    assert await any_hq.catalog("product") == {
        "base A": {"code": "A", "name": "Apple"},
        "base B": {"code": "B", "name": "Bread"},
    }
    assert report["where"] == "done"
    assert {name: report[name] for name in ("result", "rows", "taken", "changed", "rejected")} == {
        "result": "taken",
        "rows": 2,
        "taken": 2,
        "changed": 2,
        "rejected": 0,
    }
    assert report["seqs"] == {"base": [1, 2]}


async def test_only_what_really_changed_is_published(hq: HQ):
    """A full list in which one row of three is new moves the scope by one."""
    await hq.drop("p.csv", PRODUCTS.format("") + "A,Apple\nB,Bread\nC,Corn\n")
    report = await hq.drop("p.csv", PRODUCTS.format("") + "A,Apple\nB,Brown bread\nC,Corn\n")
    assert (report["rows"], report["changed"], report["seqs"]) == (3, 1, {"base": [4, 4]})


async def test_bad_rows_are_named_and_the_rest_is_taken(hq: HQ):
    """on_error=skip: each bad row with line, key and reason; the good ones are published."""
    report = await hq.drop(
        "p.csv",
        "#counterflow entity=product\ncode,name,min_age\nA,Apple,\n,Nameless,\nB,Bread,500\nC,Corn,x\nD,Date,18\n",
    )
    assert sorted(await hq.catalog("product")) == ["base A", "base D"]
    assert (report["result"], report["where"], report["rejected"]) == ("taken", "done", 3)
    assert [(error["line"], error["key"]) for error in report["errors"]] == [(4, None), (5, "B"), (6, "C")]
    assert report["errors"][2]["why"] == 'min_age: "x" is not a whole number'
    text = (hq.folder / "done/p.csv.report.txt").read_text()
    assert "line 5 (B): " in text


async def test_none_of_it_where_the_list_asks_for_all_or_nothing(hq: HQ):
    """on_error=stop: one bad row, and nothing is published; the file lies in bad/ with every reason."""
    report = await hq.drop("p.csv", PRODUCTS.format("on_error=stop") + "A,Apple\n,Nameless\n")
    assert await hq.catalog("product") == {}
    assert (report["result"], report["where"], report["taken"]) == ("refused", "bad", 0)
    assert "all or nothing" in report["what"]
    assert [error["line"] for error in report["errors"]] == [4]
    report = await hq.drop("p.csv", PRODUCTS.format("on_error=stop") + "A,Apple\nB,Bread\n")
    assert len(await hq.catalog("product")) == 2


async def test_all_or_nothing_is_one_publication(hq: HQ, monkeypatch: pytest.MonkeyPatch):
    """However long: a list with on_error=stop moves the catalog in one transaction, others part by part."""
    calls: list[int] = []

    class Counting:
        async def publish(
            self,
            changes: Mapping[str, Sequence[Change]],
            complete: Sequence[Complete] = (),
            *,
            note: Any = None,
        ) -> Mapping[str, PublishResult]:
            calls.append(sum(map(len, changes.values())))
            return await hq.publisher.publish(changes, complete)

    monkeypatch.setattr(imports, "PART_ROWS", 10)
    monkeypatch.setattr(imports, "PUBLISH_ROWS", 20)
    rows = "".join(f"P{n},Product {n}\n" for n in range(55))
    await hq.drop("a.csv", PRODUCTS.format("on_error=stop") + rows, await hq.start(publisher=Counting()))
    assert calls == [55]
    calls.clear()
    await hq.drop(
        "b.csv", PRODUCTS.format("") + rows.replace("Product", "Thing"), await hq.start(publisher=Counting())
    )
    assert calls == [20, 20, 15]


async def test_what_a_complete_price_list_does_not_have_is_deleted(any_hq: HQ):
    """mode=complete: prices of the scope that are absent are gone, those of other scopes stay."""
    await any_hq.drop("q.csv", PRICES.replace("/P", "/Q").format("") + "A,5,EUR\n")
    await any_hq.drop("p.csv", PRICES.format("") + "A,12.50,EUR\nB,1,EUR\n")
    report = await any_hq.drop("p.csv", PRICES.format("") + "B,1,EUR\nC,2,EUR\n")
    assert {key: row["amount_minor"] for key, row in (await any_hq.catalog("price")).items()} == {
        "pricelist/Q Q|A||||": 500,
        "pricelist/P P|B||||": 100,
        "pricelist/P P|C||||": 200,
    }
    assert (report["absent"], report["changed"]) == (1, 2)


@pytest.mark.parametrize(
    ("entity", "scope", "row", "absence", "expected"),
    [
        ("balance", "store/S1", {"warehouse": "S1", "product": "A", "quantity": "3"}, "", {"quantity": "0"}),
        (
            "balance",
            "store/S1",
            {"warehouse": "S1", "product": "A", "quantity": "3"},
            "keep",
            {"quantity": "3"},
        ),
        ("balance", "store/S1", {"warehouse": "S1", "product": "A", "quantity": "3"}, "delete", None),
        ("product", "base", {"code": "A", "name": "Apple"}, "", {"name": "Apple"}),
        (
            "promotion",
            "group/G",
            {"code": "A", "name": "Two for one"},
            "",
            {"valid_until": "2026-09-21T14:13:"},
        ),
    ],
)
async def test_what_absence_means(
    hq: HQ, entity: str, scope: str, row: dict[str, Any], absence: str, expected: dict[str, Any] | None
):
    """Absent is zero for a balance, the end for a promotion, nothing for a product, unless the list says otherwise."""
    about = {
        "counterflow": {
            "entity": entity,
            "scope": scope,
            "mode": "complete",
            **({"absence": absence} if absence else {}),
        }
    }
    other = {**row, "code": "B"} if "code" in row else {**row, "product": "B"}
    await hq.drop("l.json", json.dumps({**about, "rows": [row, other]}))
    await hq.drop("l.json", json.dumps({**about, "rows": [other]}))
    found = [
        one for one in (await hq.catalog(entity)).values() if "A" in (one.get("code"), one.get("product"))
    ]
    if expected is None:
        assert found == []
    else:
        ((name, value),) = expected.items()
        assert found[0][name].startswith(value)


async def test_a_bad_row_is_never_an_absent_one(hq: HQ):
    """A row that is wrong but has its key keeps what it had; with a row without key nothing counts as absent."""
    await hq.drop("p.csv", PRICES.format("") + "A,1,EUR\nB,2,EUR\nC,3,EUR\n")
    report = await hq.drop("p.csv", PRICES.format("") + "A,1,EUR\nB,2.999,EUR\n")
    assert sorted(await hq.catalog("price")) == ["pricelist/P P|A||||", "pricelist/P P|B||||"]
    assert (report["absent"], report["rejected"]) == (1, 1)
    report = await hq.drop("p.csv", PRICES.format("") + "A,1,EUR\n,2,EUR\n")
    assert sorted(await hq.catalog("price")) == ["pricelist/P P|A||||", "pricelist/P P|B||||"]
    assert "none of them was treated as absent" in report["what"]


async def test_a_complete_list_knows_its_keys_in_their_normal_form(hq: HQ):
    """A quantity of "1.50" stands in a key as "1.5": neither a good nor a bad row written so counts as absent."""
    columns = "#counterflow entity=price scope=pricelist/P mode=complete currency=EUR\nproduct,min_quantity,amount\n"
    await hq.drop("p.csv", columns + "A,1.50,2\nB,2.0,3\n")
    await hq.drop("p.csv", columns + "A,1.50,2.20\nB,2.0,wrong\n")
    assert {key: row["amount_minor"] for key, row in (await hq.catalog("price")).items()} == {
        "pricelist/P P|A|||1.5|": 220,
        "pricelist/P P|B|||2|": 300,
    }
    await hq.drop(
        "d.csv", "#counterflow entity=price scope=pricelist/P\nproduct,min_quantity,deleted\nA,1.500,yes\n"
    )
    assert list(await hq.catalog("price")) == ["pricelist/P P|B|||2|"]


async def test_an_empty_complete_list_empties_nothing(hq: HQ):
    """An export that failed is not a price list without prices, unless it says so."""
    await hq.drop("p.csv", PRICES.format("") + "A,1,EUR\n")
    report = await hq.drop("p.csv", PRICES.format(""))
    assert (report["result"], report["where"]) == ("refused", "bad")
    assert len(await hq.catalog("price")) == 1
    await hq.drop("p.csv", PRICES.format("allow_empty=true"))
    assert await hq.catalog("price") == {}


async def test_a_row_of_another_price_list_is_a_bad_row(hq: HQ):
    """A list is for one scope; a row that names another price list is reported and goes nowhere."""
    report = await hq.drop(
        "p.csv",
        "#counterflow entity=price scope=pricelist/P\nproduct,amount,currency,price_list\nA,1,EUR,Q\nB,1,EUR,P\n",
    )
    assert list(await hq.catalog("price")) == ["pricelist/P P|B||||"]
    assert report["errors"][0]["why"] == 'price_list is "Q", but the list is for P'


async def test_deletions_by_column(hq: HQ):
    """A row marked deleted takes its key's row away."""
    await hq.drop("p.csv", PRODUCTS.format("") + "A,Apple\nB,Bread\n")
    await hq.drop("d.csv", "#counterflow entity=product\ncode,deleted\nA,yes\n")
    assert list(await hq.catalog("product")) == ["base B"]


async def test_a_file_that_comes_twice_is_taken_once(any_hq: HQ):
    """The same bytes under the same name in a row do nothing; the same bytes after another list are a new wish."""
    first, second = PRODUCTS.format("") + "A,Apple\n", PRODUCTS.format("") + "A,Apricot\n"
    await any_hq.drop("p.csv", first)
    await any_hq.publisher.publish({"base": [Change("product", "A", b'{"code":"A","name":"By hand"}')]})
    report = await any_hq.drop("p.csv", first)
    assert (report["result"], report["changed"]) == ("repeated", 0)
    assert (await any_hq.catalog("product"))["base A"]["name"] == "By hand"
    await any_hq.drop("p.csv", second)
    report = await any_hq.drop("p.csv", first)
    assert report["result"] == "taken"
    assert (await any_hq.catalog("product"))["base A"]["name"] == "Apple"


async def test_a_file_that_cannot_be_read_lies_in_bad_with_its_reason(hq: HQ):
    """What says nothing of itself is refused, told, and can be dropped again once it is right."""
    report = await hq.drop("p.csv", "code,name\nA,Apple\n")
    assert (report["result"], report["where"]) == ("refused", "bad")
    assert "does not say what it is" in report["what"]
    report = await hq.drop("p.csv", "code,name\nA,Apple\n")
    assert report["result"] == "refused"


async def test_what_was_read_before_an_unreadable_part_is_taken(hq: HQ, monkeypatch: pytest.MonkeyPatch):
    """An endless line ends the reading: the rows before it are taken, and nothing counts as absent."""
    await hq.drop("p.csv", PRICES.format("") + "A,1,EUR\nB,2,EUR\n")
    monkeypatch.setattr(imports, "PART_ROWS", 1)
    report = await hq.drop("p.csv", PRICES.format("") + "B,3,EUR\n" + "x" * (2 << 20))
    assert report["result"] == "taken"
    assert "not read any further" in report["errors"][0]["why"]
    assert {row["amount_minor"] for row in (await hq.catalog("price")).values()} == {100, 300}


@pytest.mark.parametrize("error", [RecursionError("too deep"), BadInput("the row has too many bytes")])
async def test_a_poisoned_list_delays_no_other(hq: HQ, error: Exception):
    """A list that breaks its reader or the publisher is refused, told, and the next one is taken."""

    class Refusing:
        async def publish(self, changes: Any, complete: Any = (), *, note: Any = None) -> Any:
            raise error

    if isinstance(error, BadInput):
        report = await hq.drop(
            "p.csv", PRODUCTS.format("") + "A,Apple\n", await hq.start(publisher=Refusing())
        )
    else:
        node = await hq.start()
        connector: Any = hq.integrations.connector(hq.one)
        pull = connector.pull

        async def poisoned() -> Any:
            def rows() -> Any:
                yield from ()
                raise error

            incoming = await pull()
            return incoming and replace(incoming, rows=rows)

        connector.pull = poisoned
        report = await hq.drop("p.csv", PRODUCTS.format("") + "A,Apple\n", node)
    assert (report["result"], report["where"]) == ("refused", "bad")
    assert str(error) in report["what"]
    assert (await hq.drop("q.csv", PRODUCTS.format("") + "A,Apple\n"))["result"] == "taken"


class Dying:
    """A publisher whose process dies before or after a publication."""

    def __init__(self, publisher: Publisher, *, after: bool) -> None:
        self._publisher = publisher
        self._after = after

    async def publish(self, changes: Any, complete: Any = (), *, note: Any = None) -> Any:
        if self._after:
            await self._publisher.publish(changes, complete)
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [False, True])
async def test_a_centre_that_dies_over_a_list_goes_through_it_again(any_hq: HQ, after: bool):
    """Claimed, and dead before or after the publication: the next process takes the list from its beginning."""
    node = await any_hq.start(publisher=Dying(any_hq.publisher, after=after))
    with pytest.raises(KeyboardInterrupt):
        await any_hq.drop("p.csv", PRICES.format("") + "A,1,EUR\nB,2,EUR\n", node)
    assert [path.name for path in (any_hq.folder / "work").iterdir()] == ["p.csv"]
    any_hq.clock.move(imports.LEASE_S)
    assert await (await any_hq.start("b")).step(any_hq.one)
    assert len(await any_hq.catalog("price")) == 2
    assert any_hq.report("p.csv")["result"] == "taken"
    assert list((any_hq.folder / "work").iterdir()) == []


async def test_a_centre_that_dies_before_it_reports_says_the_same_later(
    hq: HQ, monkeypatch: pytest.MonkeyPatch
):
    """Published and noted, then dead: the report of the first time is written, and nothing is published twice."""
    node = await hq.start()
    connector: Any = hq.integrations.connector(hq.one)

    async def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(connector, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            await hq.drop("p.csv", PRODUCTS.format("") + "A,Apple\n,B\n", node)
    hq.clock.move(imports.LEASE_S)
    assert await (await hq.start("b")).step(hq.one)
    report = hq.report("p.csv")
    assert (report["result"], report["changed"], report["rejected"]) == ("taken", 1, 1)


@pytest.mark.postgres
async def test_two_nodes_do_not_take_one_list_at_once(postgres_url: str, tmp_path: Path):
    """One node holds the integration's lists; another one takes over when it is gone."""
    hq = await start_hq(postgres_url, tmp_path)
    first, second = await hq.start("a"), await hq.start("b")
    assert not await first.step(hq.one)
    (hq.folder / "in/p.csv").write_text(PRODUCTS.format("") + "A,Apple\n")
    assert not await second.step(hq.one)
    hq.clock.move(2)
    assert not await second.step(hq.one)
    hq.clock.move(imports.LEASE_S)
    assert not await second.step(hq.one)
    hq.clock.move(2)
    assert await second.step(hq.one)
    await hq.database.close()
