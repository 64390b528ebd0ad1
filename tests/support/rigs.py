"""Rigs of the conformance kit: the emulator, the drop folder, and a real Tryton."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid5

import orjson
import pytest

from central.conformance.faults import IN, OUT, Fault
from central.conformance.rig import Rig
from central.connectors import CONNECTORS
from central.connectors.base import Connector, Delivery
from central.connectors.drop_folder import outgoing
from central.connectors.files import folder
from central.connectors.tryton import rpc
from central.connectors.tryton.connector import TrytonConnector, TrytonSettings
from shared.clock import Clock
from tests.support.clock import ManualClock
from tests.support.emulator import Emulator
from tests.support.emulator_connector import EmulatorConnector, EmulatorSettings
from tests.support.proxy import FaultProxy
from tests.support.tryton import TrytonServer
from tests.support.tryton_process import DATABASE, PASSWORD
from tests.support.tryton_shop import Goods, add_goods, sales

STORM = 3
"""Requests in a row that meet a fault."""
NAMES = UUID("01234567-0000-7000-8000-000000000000")


def delivery(number: int, salt: str = "", record: Mapping[str, Any] | None = None) -> Delivery:
    doc_id = str(uuid5(NAMES, f"{salt}{number}"))
    header = orjson.dumps({"doc_id": doc_id, "kind": "sale", "number": f"T-1-{number}"})
    target = "sale" if record else None
    return Delivery(
        f"erp:{doc_id}:sale",
        "sale",
        doc_id,
        "sale",
        f"T-1-{number}",
        "T-1",
        "S1",
        header,
        b'{"total_minor":5}',
        target,
        record,
    )


def clock(*, off: bool) -> Clock:
    return ManualClock(4_000_000_000_000) if off else ManualClock()


class EmulatorRig(Rig):
    source = "items"
    connector: type[Connector] = EmulatorConnector

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._settings: dict[str, Any] = {"url": emulator.url}

    def connect(self, *, wrong_credentials: bool = False, clock_off: bool = False) -> Connector:
        wrong = {"password": "wrong"} if wrong_credentials else {}
        settings = EmulatorSettings.model_validate(self._settings | wrong)
        return self.connector("erp", settings, clock(off=clock_off))

    async def effects(self) -> list[str]:
        return list(self.emulator.effects)

    def delivery(self, number: int) -> Delivery:
        return delivery(number)

    @contextlib.asynccontextmanager
    async def meet(self, fault: Fault) -> AsyncIterator[None]:
        self.emulator.faults.extend([fault] * STORM)
        yield
        self.emulator.faults.clear()
        assert self.emulator.met[fault], f"{fault} was never met"

    async def put(self, key: str) -> None:
        self.emulator.put(key, code=key)

    async def put_late(self, key: str) -> None:
        self.emulator.put(key, at=self.emulator.items[key]["changed"] - 1, code="late")

    async def deactivate(self, key: str) -> None:
        self.emulator.put(key, code=key, active=False)

    async def twins(self, first: str, second: str) -> None:
        for key in (first, second):
            self.emulator.put(key, code=key, barcodes=["76"])


class DropFolderRig(Rig):
    impossible: ClassVar[Mapping[Fault, str]] = {
        **dict.fromkeys(IN, "lists are handed in as files; what they hold is checked where they are taken"),
        Fault.DOUBLED_REQUEST: "a file is renamed into place once; there is no network that repeats it",
        Fault.BUSY_429: "a folder takes any number of files",
        Fault.BUSY_503: "a folder does not answer; a full disk is shown in test_connector.py",
        Fault.DENIED_403: "rights are the file system's: shown in test_connector.py",
        Fault.ERROR_BODY: "a folder has no answers",
        Fault.HALF_BATCH: "a file is there as a whole or not at all",
        Fault.SLOW_ANSWER: "a share that hangs holds up its own thread: shown in test_connector.py",
        Fault.CUT_ANSWER: "a folder has no answers",
        Fault.SESSION_LOST: "a folder has no sessions",
        Fault.WRONG_CREDENTIALS: "a share is mounted by the machine",
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def connect(self, *, wrong_credentials: bool = False, clock_off: bool = False) -> Connector:
        kind = CONNECTORS["drop_folder"]
        return kind("erp", kind.Settings.model_validate({"folder": self.folder}), clock(off=clock_off))

    async def consume(self) -> None:
        for path in (self.folder / "out").glob("*.ndjson"):
            path.rename(self.folder / "taken" / path.name)

    async def effects(self) -> list[str]:
        return [
            orjson.loads(line)["delivery_key"]
            for path in self.folder.rglob("*.ndjson")
            for line in path.read_bytes().splitlines()
        ]

    def delivery(self, number: int) -> Delivery:
        return delivery(number)

    @contextlib.asynccontextmanager
    async def meet(self, fault: Fault) -> AsyncIterator[None]:
        """The name is given, and the share is gone before the folder is synced."""
        assert fault is Fault.LOST_ANSWER
        place, met = outgoing.OutFolder.place, []

        def placed_and_gone(folder: outgoing.OutFolder, batch_id: str, part: Path) -> None:
            place(folder, batch_id, part)
            if len(met) < STORM:
                met.append(batch_id)
                raise OSError(5, "the share is gone")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(outgoing.OutFolder, "place", placed_and_gone)
            yield
        assert met


class FilesRig(Rig):
    """A system that exports a full file once, and a file for every change after it."""

    source = "items"
    writes = False
    impossible: ClassVar[Mapping[Fault, str]] = {
        **dict.fromkeys(OUT, "it only reads"),
        Fault.WRONG_CREDENTIALS: "a share is mounted by the machine",
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        (folder / "full.ndjson").write_bytes(b"")

    def connect(self, *, wrong_credentials: bool = False, clock_off: bool = False) -> Connector:
        kind = CONNECTORS["files"]
        one = {
            "full": "full*.ndjson",
            "changes": "changes*.ndjson",
            "key": "id",
            "dialect": {"form": "ndjson"},
        }
        settings = {"folder": self.folder, "lists": {"items": one}, "settle_s": 0}
        return kind("erp", kind.Settings.model_validate(settings), clock(off=clock_off))

    def _write(self, *records: Mapping[str, Any]) -> Path:
        self.number += 1
        path = self.folder / f"changes-{self.number:06}.ndjson"
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
        return path

    async def put(self, key: str) -> None:
        self._write({"id": key, "active": True, "n": self.number})

    async def put_late(self, key: str) -> None:
        """A copy that keeps the time at which its content was made."""
        path = self._write({"id": key, "active": True, "n": "late"})
        os.utime(path, ns=(path.stat().st_mtime_ns - 300 * 10**9,) * 2)

    async def deactivate(self, key: str) -> None:
        self._write({"id": key, "active": False})

    async def twins(self, first: str, second: str) -> None:
        self._write(*({"id": key, "active": True, "barcode": "76"} for key in (first, second)))

    @contextlib.asynccontextmanager
    async def meet(self, fault: Fault) -> AsyncIterator[None]:
        """At a look at the folder: the files are written once more in another order; or more come at every look."""
        look, met = folder.look, []

        def changed(path: Path, one: Any) -> Any:
            if fault is Fault.REORDERED and not met:
                met.append(fault)
                for file in self.folder.glob("changes*"):
                    file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))
            elif fault is Fault.CHANGING_PAGE and len(met) < STORM:
                met.append(fault)
                self._write({"id": f"more-{len(met)}", "active": True})
            return look(path, one)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folder, "look", changed)
            yield
        assert met


class TrytonRig(Rig):
    source = "products"
    impossible: ClassVar[Mapping[Fault, str]] = {
        Fault.HALF_BATCH: "a call is one transaction of Tryton's: it is done as a whole or not at all",
        Fault.REORDERED: "pages are asked for in the order of ids, and the server keeps it",
    }
    _MODES: ClassVar[Mapping[Fault, tuple[str, dict[str, Any]]]] = {
        Fault.LOST_ANSWER: ("drop_answer", {}),
        Fault.DOUBLED_REQUEST: ("double", {}),
        Fault.BUSY_429: ("status", {"code": 429}),
        Fault.BUSY_503: ("status", {"code": 503}),
        Fault.DENIED_403: ("status", {"code": 403}),
        Fault.ERROR_BODY: ("html200", {}),
        Fault.SLOW_ANSWER: ("delay", {"seconds": 0.3}),
        Fault.CUT_ANSWER: ("cut_after", {"keep_bytes": 60}),
    }

    def __init__(self, server: TrytonServer, proxy: FaultProxy, salt: str) -> None:
        self.server = server
        self.proxy = proxy
        self.salt = salt
        self.ids: dict[str, int] = {}

    def connect(self, *, wrong_credentials: bool = False, clock_off: bool = False) -> Connector:
        settings = {
            "url": self.proxy.url,
            "database": DATABASE,
            "user": "exchange",
            "password": "wrong" if wrong_credentials else PASSWORD,
        }
        return TrytonConnector("erp", TrytonSettings.model_validate(settings), clock(off=clock_off))

    async def effects(self) -> list[str]:
        wanted = {delivery(number, self.salt).key for number in range(20)}
        keys = [
            note.rpartition(" ")[2]
            for row in await sales(self.server)
            if row["state"] == "posted"
            for note in set(row["notes"])  # a note that was doubled too makes no second sale
        ]
        return [key for key in keys if key in wanted]

    def delivery(self, number: int) -> Delivery:
        record = {
            "point": "S1",
            "date": "2026-11-22",
            "lines": [
                {"product": self.salt, "quantity": 1, "amount": Decimal("12.00"), "tax": Decimal("2.00")}
            ],
            "payments": [{"method": "Cash", "amount": Decimal("12.00")}],
        }
        return delivery(number, self.salt, record)

    @contextlib.asynccontextmanager
    async def meet(self, fault: Fault) -> AsyncIterator[None]:
        """It meets what changes something: a fault of a look alone would prove little."""
        dumps, met = rpc.values.dumps, []

        def watched(value: Any) -> bytes:
            method = str(value["method"]).rpartition(".")[2]
            if method in rpc.CHANGES and len(met) < STORM:
                met.append(method)
                if fault is Fault.SESSION_LOST:
                    with self.server.sql() as database:
                        database.execute("DELETE FROM ir_session")
                else:
                    mode, options = self._MODES[fault]
                    self.proxy.mode(mode, times=1, **options)
            return dumps(value)

        if fault is Fault.CHANGING_PAGE:
            async with self._changing():
                yield
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rpc.values, "dumps", watched)
            yield
        assert met

    @contextlib.asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Each page that is asked for finds a product more than the one before."""
        dumps, met = rpc.values.dumps, []

        def watched(value: Any) -> bytes:
            if value["method"] == "model.product.product.search_read" and len(met) < STORM:
                met.append(value)
                with self.server.sql() as database:
                    database.execute(
                        "UPDATE product_product SET write_date = CURRENT_TIMESTAMP WHERE id = ?",
                        (min(self.ids.values()),),
                    )
            return dumps(value)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rpc.values, "dumps", watched)
            yield
        assert met

    # ---- reading ----

    def _code(self, key: str) -> str:
        return f"{self.salt}-{key}"

    def key(self, record: Mapping[str, Any]) -> str:
        return str(record["code"]).removeprefix(f"{self.salt}-")

    async def put(self, key: str) -> None:
        if key in self.ids:
            values = {"description": "changed"}
            await self.server.call("model.product.product.write", [self.ids[key]], values)
        else:
            goods = Goods(self._code(key), key, Decimal("1.20"))
            self.ids[key] = (await add_goods(self.server, [goods]))[goods.code]

    async def put_late(self, key: str) -> None:
        await self.put(key)
        with self.server.sql() as database:
            for table in ("product_product", "product_template"):
                (newest,) = database.execute(
                    f"SELECT max(coalesce(write_date, create_date)) FROM {table}"
                ).fetchone()
                late = datetime.fromisoformat(str(newest)) - timedelta(minutes=5)
                database.execute(
                    f"UPDATE {table} SET create_date = ?1, write_date = ?1", (late.isoformat(" "),)
                )

    async def deactivate(self, key: str) -> None:
        await self.server.call("model.product.product.write", [self.ids[key]], {"active": False})

    async def twins(self, first: str, second: str) -> None:
        goods = [Goods(self._code(key), key, Decimal("1.20"), barcodes=("76",)) for key in (first, second)]
        await add_goods(self.server, goods)
