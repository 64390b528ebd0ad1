"""Records as a file of any form, exact: what is read back is what was written.

Names of fields are columns in the order in which they first appear, the dialect's own first; a list or table inside a
record is JSON in CSV and Excel, elements in XML. A text that looks like a formula stays a text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from lxml import etree

from central.connectors.formats.dialect import Dialect

CELL_MAX_CHARS = 32_767
EXCEL_DIGITS = 15
CREATED = datetime(2000, 1, 1, tzinfo=UTC)
Records = Sequence[Mapping[str, Any]]
Table = Sequence[Sequence[Any]]


def compose_file(records: Records, dialect: Dialect, columns: Sequence[str] = ()) -> bytes:
    """The bytes of a file with these records.

    Raises:
        ValueError: the form cannot hold one of them; `unfit` says which.
    """
    match dialect.form:
        case "csv":
            return _csv(records, dialect, columns)
        case "xlsx":
            return _sheet(records, dialect, columns)
        case "xml":
            return _xml(records, dialect)
        case "json":
            return orjson.dumps({"rows": list(records)}, default=_exact)
        case "ndjson":
            return b"".join(orjson.dumps(record, default=_exact) + b"\n" for record in records)


def unfit(record: Mapping[str, Any], dialect: Dialect) -> str | None:
    """Why the form cannot hold a record, if so."""
    try:
        compose_file([record], dialect)
    except ValueError as error:
        return str(error)
    return None


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    return str(value)


def _columns(records: Records, first: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*first, *(name for record in records for name in record)]))


def _text(value: Any, decimal: str = ".") -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f").replace(".", decimal)
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=_exact).decode()
    return str(value)


def _csv(records: Records, dialect: Dialect, first: Sequence[str]) -> bytes:
    columns = _columns(records, first)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=dialect.separator, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        writer.writerow([_text(record.get(name), dialect.decimal) for name in columns])
    try:
        return text.getvalue().encode(dialect.encoding)
    except UnicodeEncodeError as error:
        raise ValueError(
            f'"{error.object[error.start : error.end]}" cannot be written in {dialect.encoding}'
        ) from None


def _sheet(records: Records, dialect: Dialect, first: Sequence[str]) -> bytes:
    columns = _columns(records, first)
    rows = [[record.get(name) for name in columns] for record in records]
    return sheet_of([columns, *rows], dialect.sheet or "Sheet1")


def sheet_of(
    rows: Sequence[Sequence[Any]], name: str, notes: Mapping[str, Sequence[Sequence[Any]]] | None = None
) -> bytes:
    """An Excel file with one sheet of records, and further ones for people."""
    import xlsxwriter  # here: a tenth of a second that no command line and no start needs

    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        # The same records are the same bytes, whenever they are written.
        book.set_properties({"created": CREATED})
        for title, content in {name: rows, **(notes or {})}.items():
            page = book.add_worksheet(title)
            for number, row in enumerate(content):
                for column, value in enumerate(row):
                    _put(page, number, column, value)
    return file.getvalue()


def _put(page: Any, row: int, column: int, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        page.write_boolean(row, column, value)
    elif isinstance(value, int | Decimal) and len(Decimal(value).as_tuple().digits) <= EXCEL_DIGITS:
        page.write_number(row, column, value)
    else:
        text = _text(value)
        if len(text) > CELL_MAX_CHARS:
            raise ValueError(
                f"a cell of Excel holds at most {CELL_MAX_CHARS:,} characters, not {len(text):,}"
            )
        page.write_string(row, column, text)


def _xml(records: Records, dialect: Dialect) -> bytes:
    space = f"{{{dialect.namespace}}}" if dialect.namespace else ""
    # lxml knows the space without a prefix as None; its types do not.
    spaces: Any = {None: dialect.namespace} if dialect.namespace else None
    root = etree.Element(space + dialect.root, nsmap=spaces)
    for record in records:
        _fill(etree.SubElement(root, space + dialect.record), record, space)
    content: bytes = etree.tostring(  # type: ignore[assignment]
        root, encoding=dialect.encoding, xml_declaration=True, pretty_print=True
    )
    return content


def _fill(element: Any, value: Any, space: str) -> None:
    if isinstance(value, Mapping):
        for name, part in value.items():
            for one in part if isinstance(part, list) else [part]:
                if one is not None:
                    _fill(etree.SubElement(element, space + name), one, space)
    else:
        element.text = _text(value)
