"""Records of a file, one after the other, whatever its form.

Invariants: what cannot be read is a record with a reason, never the end of the file; memory is bounded whatever the
file's size (JSON and Excel, which are read as a whole, have a largest size); numbers are exact, never float.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import orjson

from central.connectors.formats.dialect import Dialect
from central.connectors.formats.record import Record
from shared.errors import BadInput, TooLarge

LINE_MAX_BYTES = 1 << 20
WHOLE_MAX_BYTES = 64 << 20
"""A JSON or Excel file is read as a whole; a longer list is sent as NDJSON or CSV."""
UNPACKED_MAX_BYTES = 512 << 20
"""Excel files are packed; a small one may hold terabytes."""
_READER = Path(__file__).with_name("sheet.py")


def exact_json(raw: bytes | str) -> Any:
    """JSON with numbers as they are written.

    Raises:
        BadInput: it is not JSON, or nests too deep.
    """
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise BadInput("nested too deep" if isinstance(error, RecursionError) else str(error)) from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


Loads = Callable[[bytes | str], Any]


def read_records(path: Path, dialect: Dialect, skip: int = 0, loads: Loads = exact_json) -> Iterator[Record]:
    """Go through a file.

    Args:
        skip: lines (rows of a sheet) at its beginning that do not belong to the records.
        loads: reads JSON, and raises BadInput.
    Raises:
        BadInput: the file as a whole is not of its form.
        TooLarge: it, or one line of it, is larger than is read.
    """
    match dialect.form:
        case "csv":
            return _csv(path, dialect, skip)
        case "ndjson":
            return _ndjson(path, skip, loads)
        case "json":
            return _json(path, loads)
        case "xlsx":
            return _sheet(path, dialect, skip)
        case "xml":
            from central.connectors.formats.xml import read_xml

            return read_xml(path, dialect)


def must_be_small(path: Path) -> None:
    size = path.stat().st_size
    if size > WHOLE_MAX_BYTES:
        raise TooLarge(
            f"{path.name} has {size >> 20} MiB; a JSON or Excel list has at most {WHOLE_MAX_BYTES >> 20}",
            hint="send it as NDJSON, one row a line, or as CSV",
        )


# ---- lines ----


def _lines(file: BinaryIO, where: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LINE_MAX_BYTES + 1):
        number += 1
        if len(line) > LINE_MAX_BYTES:
            raise TooLarge(f"{where}, line {number} is longer than {LINE_MAX_BYTES} bytes")
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _ndjson(path: Path, skip: int, loads: Loads) -> Iterator[Record]:
    with open(path, "rb") as file:
        for number, line in _lines(file, path.name):
            if number <= skip or not line.strip():
                continue
            try:
                value = loads(line)
            except BadInput as error:
                yield Record(number, None, f"not valid JSON: {error}")
                continue
            yield _object(number, value)


def _object(line: int, value: Any) -> Record:
    if not isinstance(value, dict):
        return Record(line, None, "a row must be an object")
    return Record(line, value)


def whole_json(path: Path, loads: Loads) -> tuple[dict[str, Any], list[int]]:
    """A JSON list with its envelope, and the line on which each row begins. A list alone is one without envelope."""
    must_be_small(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        found = loads(text)
    except (BadInput, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name} is not valid JSON: {error}", code="malformed-json") from None
    if isinstance(found, list):
        text, found = f'{{"rows":{text}}}', {"rows": found}
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
        raise BadInput(f'{path.name}: "rows" must be a list')
    return found, row_lines(text)


def _json(path: Path, loads: Loads) -> Iterator[Record]:
    envelope, starts = whole_json(path, loads)
    for line, value in zip(starts, envelope["rows"], strict=True):
        yield _object(line, value)


def row_lines(text: str) -> list[int]:
    """The line on which each element of the `rows` of a valid JSON object begins."""
    space = re.compile(r"\s*")
    decoder = json.JSONDecoder()

    def after_space(at: int) -> int:
        found = space.match(text, at)
        assert found
        return found.end()

    lines: list[int] = []
    at = after_space(0) + 1  # behind the brace
    while text[after_space(at)] != "}":
        name, at = decoder.raw_decode(text, after_space(at))
        at = after_space(after_space(at) + 1)  # behind the colon
        if name != "rows":
            _, at = decoder.raw_decode(text, at)
        else:
            lines = []
            line, counted = 1, 0
            at += 1
            while text[at := after_space(at)] != "]":
                line += text.count("\n", counted, at)
                counted = at
                lines.append(line)
                _, at = decoder.raw_decode(text, at)
                at = after_space(at)
                at += text[at] == ","
            at += 1
        at = after_space(at)
        at += text[at] == ","
    return lines


# ---- CSV ----


@dataclass(slots=True)
class _Decoded:
    """The lines of a CSV file as text, for the csv module; remembers the newest one that was not in its encoding."""

    file: BinaryIO
    where: str
    encoding: str
    skip: int
    undecodable: int = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in _lines(self.file, self.where):
            if number <= self.skip:
                continue
            try:
                yield line.decode(self.encoding)
            except UnicodeDecodeError:
                self.undecodable = number
                yield line.decode(self.encoding, "replace")


def _csv(path: Path, dialect: Dialect, skip: int) -> Iterator[Record]:
    with open(path, "rb") as file:
        source = _Decoded(file, path.name, dialect.encoding, skip)
        reader = csv.reader(source, delimiter=dialect.separator, strict=True)
        columns: list[str] | None = None
        while True:
            line = reader.line_num + skip + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(line, None, f"not valid CSV: {error}")
                continue
            if not any(cells):
                continue
            if columns is None:
                columns = _columns(cells, path.name, line)
                continue
            if source.undecodable >= line:
                yield Record(line, None, f"not {dialect.encoding} text")
            elif len(cells) != len(columns):
                yield Record(line, None, f"{len(cells)} cells, but there are {len(columns)} columns")
            else:
                yield Record(line, dict(zip(columns, cells, strict=True)))


def _columns(cells: list[str], where: str, line: int) -> list[str]:
    columns = [cell.strip() for cell in cells]
    doubled = {name for name in columns if columns.count(name) > 1}
    if doubled or "" in columns:
        what = f"the column {min(doubled)} stands there twice" if doubled else "a column has no name"
        raise BadInput(f"{where}, line {line}: {what}")
    return columns


# ---- Excel ----


def sheet_rows(path: Path, name: str | None) -> Iterator[list[str]]:
    """The rows of a sheet as text, without the empty cells at their end.

    Raises:
        BadInput: no Excel file, or no such sheet.
        TooLarge: it unpacks to more than is read.
    """
    must_be_small(path)
    _must_unpack_small(path)
    words = [sys.executable, "-I", str(_READER), str(path), name or ""]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        assert reader.stdout
        try:
            for line in reader.stdout:
                row = orjson.loads(line)
                if isinstance(row, dict):
                    raise _no_sheet(path, name, row)
                yield row
        except orjson.JSONDecodeError:
            reader.kill()  # it died in the middle of a line
        except BaseException:
            reader.kill()
            raise
    if reader.returncode:
        raise BadInput(
            f"{path.name} cannot be read as an Excel file: it is damaged, or asks for too much memory or time",
            hint="save it as .xlsx once more, without cells far out, or as CSV",
        )


def _no_sheet(path: Path, name: str | None, told: dict[str, Any]) -> BadInput:
    if "error" in told:
        return BadInput(f"{path.name} is no Excel file: {told['error']}", hint="save it as .xlsx")
    return BadInput(f'{path.name} has no sheet "{name}"', hint=f"there are {', '.join(told['no_sheet'])}")


def _must_unpack_small(path: Path) -> None:
    """Unpack it once, counting: what the file says of its own sizes may be wrong."""
    total = 0
    try:
        with ZipFile(path) as packed:
            for part in packed.infolist():
                part.file_size = 2 * UNPACKED_MAX_BYTES + 2
                with packed.open(part) as stream:
                    while chunk := stream.read(1 << 20):
                        total += len(chunk)
                        if total > UNPACKED_MAX_BYTES:
                            raise TooLarge(f"{path.name} unpacks to more than {UNPACKED_MAX_BYTES >> 20} MiB")
    except (BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{path.name} is no Excel file: {error}", hint="save it as .xlsx") from None


def _sheet(path: Path, dialect: Dialect, skip: int) -> Iterator[Record]:
    columns: list[str] | None = None
    for number, cells in enumerate(sheet_rows(path, dialect.sheet), start=1):
        if number <= skip or not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = _columns(cells, path.name, number)
        elif len(cells) > len(columns):
            yield Record(number, None, f"{len(cells)} cells, but there are {len(columns)} columns")
        else:
            yield Record(number, dict(zip(columns, cells + [""] * (len(columns) - len(cells)), strict=True)))
