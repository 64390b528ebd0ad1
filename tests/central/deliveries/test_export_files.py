"""Customers with addresses and contacts in another system's own import format (B1), byte for byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from central.connectors.drop_folder.connector import DropFolder
from central.connectors.formats.dialect import Dialect
from central.connectors.formats.reading import read_records
from central.connectors.formats.writing import compose_file
from tests.support.master import Master, open_master

OOO: dict[str, Any] = {
    "code": "К-1",
    "name": 'ООО "Ромашка"',
    "tax_id": "7707083893",
    "tax_branch": "770701001",
    "country": "RU",
    "addresses": [
        {"kind": "legal", "postal_code": "101000", "city": "Москва", "street": "ул. Мясницкая, 1"},
        {"kind": "delivery", "city": "Тверь"},
    ],
    "contacts": [{"name": "Иван", "phone": "+7 900 1"}, {"name": "Пётр; бухгалтер", "phone": "+7 900 2"}],
}
ANNA: dict[str, Any] = {"code": "К-2", "name": "Анна", "custom": {"limit": "1000.50"}}
JOINED: dict[str, Any] = {
    "name": "customers",
    "entity": "customer",
    "target": "file",
    "fields": {
        "Код": "{{payload.row.code}}",
        "Наименование": "{{payload.row.name}}",
        "ИНН": "{{payload.row.tax_id}}",
        "КПП": "{{payload.row.tax_branch}}",
        "Телефоны": "{{join(', ', (payload.row.contacts || `[]`)[?phone].phone)}}",
        "Адрес": "{{(payload.row.addresses[?kind == 'legal'].street)[0]}}",
        "Лимит": "{{payload.row.custom.limit | number}}",
    },
}
COLUMNS = ["Код", "Наименование", "ИНН", "КПП", "Телефоны", "Адрес", "Лимит"]


@pytest.fixture
async def master(database_url: str, tmp_path: Path) -> AsyncIterator[Master]:
    async with open_master(database_url, tmp_path / "centre", {"drop_folder": DropFolder}) as master:
        yield master


async def exported(master: Master, folder: Path, deliver: dict[str, Any], out: dict[str, Any]) -> bytes:
    """What stands in the folder after HQ has published both customers."""
    settings = {"folder": str(folder), "out": out, "columns": COLUMNS}
    await master.connect(deliver, connector="drop_folder", settings=settings)
    await master.publish("customer", OOO, ANNA)
    await master.through()
    assert await master.states() == {"done": 2}
    (file,) = (path for path in (folder / "out").iterdir() if path.is_file())
    assert file.suffix == f".{out['form']}"
    return file.read_bytes()


async def test_customers_as_csv_in_windows_1251(master: Master, tmp_path: Path):
    """Semicolons, decimal comma, the target's column names and order; a cell with a semicolon is quoted."""
    out = {"form": "csv", "encoding": "cp1251", "delimiter": ";", "decimal": ","}
    found = await exported(master, tmp_path / "drop", JOINED, out)
    assert found == (
        "Код;Наименование;ИНН;КПП;Телефоны;Адрес;Лимит\n"
        'К-1;"ООО ""Ромашка""";7707083893;770701001;+7 900 1, +7 900 2;ул. Мясницкая, 1;\n'
        "К-2;Анна;;;;;1000,50\n"
    ).encode("cp1251")


async def test_customers_as_excel(master: Master, tmp_path: Path):
    """The same records are the same bytes, whenever they are written; numbers are numbers, tax ids stay texts."""
    found = await exported(master, tmp_path / "drop", JOINED, {"form": "xlsx", "sheet": "Контрагенты"})
    dialect = Dialect(form="xlsx", sheet="Контрагенты")
    records = [
        {
            "Код": "К-1",
            "Наименование": 'ООО "Ромашка"',
            "ИНН": "7707083893",
            "КПП": "770701001",
            "Телефоны": "+7 900 1, +7 900 2",
            "Адрес": "ул. Мясницкая, 1",
        },
        {"Код": "К-2", "Наименование": "Анна", "Телефоны": "", "Лимит": Decimal("1000.50")},
    ]
    assert found == compose_file(records, dialect, COLUMNS)
    (tmp_path / "back.xlsx").write_bytes(found)
    back = [one.values for one in read_records(tmp_path / "back.xlsx", dialect)]
    assert [one and one["Лимит"] for one in back] == ["", "1000.5"]


async def test_a_row_for_each_contact(master: Master, tmp_path: Path):
    """A customer without contacts has a row too; each has what is the customer's beside it."""
    deliver = JOINED | {
        "split": "payload.row.contacts || `[{}]`",
        "fields": {"Код": "{{payload.row.code}}", "Контакт": "{{part.name}}", "Телефоны": "{{part.phone}}"},
    }
    out = {"form": "csv", "delimiter": ";"}
    found = await exported(master, tmp_path / "drop", deliver, out)
    assert found.decode() == (
        "Код;Наименование;ИНН;КПП;Телефоны;Адрес;Лимит;Контакт\n"
        "К-1;;;;+7 900 1;;;Иван\n"
        'К-1;;;;+7 900 2;;;"Пётр; бухгалтер"\n'
        "К-2;;;;;;;\n"
    )


async def test_customers_as_xml_with_its_names(master: Master, tmp_path: Path):
    """Root, record and namespace are what the other system wants; nested lists are elements."""
    fields = {
        "Код": "{{payload.row.code}}",
        "Контакт": {"each": "payload.row.contacts", "fields": {"Имя": "{{name}}"}},
    }
    out = {
        "form": "xml",
        "root": "Контрагенты",
        "record": "Контрагент",
        "namespace": "urn:1C",
        "encoding": "cp1251",
    }
    found = await exported(master, tmp_path / "drop", JOINED | {"fields": fields}, out)
    assert found.decode("cp1251") == (
        "<?xml version='1.0' encoding='cp1251'?>\n"
        '<Контрагенты xmlns="urn:1C">\n  <Контрагент>\n    <Код>К-1</Код>\n'
        "    <Контакт>\n      <Имя>Иван</Имя>\n    </Контакт>\n"
        "    <Контакт>\n      <Имя>Пётр; бухгалтер</Имя>\n    </Контакт>\n"
        "  </Контрагент>\n  <Контрагент>\n    <Код>К-2</Код>\n  </Контрагент>\n</Контрагенты>\n"
    )
