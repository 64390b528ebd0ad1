"""Records of an XML file, element by element: no document type, no entities, no network, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from central.connectors.formats.dialect import Dialect
from central.connectors.formats.record import Record
from shared.errors import BadInput, TooLarge

RECORD_MAX_BYTES = 4 << 20
DEPTH_MAX = 30
CHUNK_BYTES = 1 << 16
TEXT = "text"
"""The name of an element's own text, where it has attributes or elements beside it."""


def read_xml(path: Path, dialect: Dialect) -> Iterator[Record]:
    """Each element of the dialect's name as a table of its attributes and children; repeated children are lists.

    Names are without their namespaces.
    """
    lists = frozenset(dialect.lists)
    for element in _elements(path, dialect.record):
        yield Record(element.sourceline or 0, *_read(element, lists))


def root_attributes(path: Path) -> dict[str, str]:
    """What the outermost element says of the file."""
    for element in _elements(path, None):
        return {str(etree.QName(name).localname): str(value) for name, value in element.attrib.items()}
    return {}


def _elements(path: Path, name: str | None) -> Iterator[Any]:
    """Elements called *name* as they end, gone when the next is asked for; without a name, the root as it starts."""
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    unread, inside, started = 0, 0, False
    element: Any
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            unread += len(chunk)
            try:
                parser.feed(chunk)
                for event, element in parser.read_events():
                    if not started:
                        started = True
                        if element.getroottree().docinfo.internalDTD is not None:
                            raise BadInput(f"{path.name} has a document type (<!DOCTYPE …>); remove it")
                        if name is None:
                            yield element
                            return
                    if not isinstance(element.tag, str) or etree.QName(element).localname != name:
                        continue
                    inside += 1 if event == "start" else -1
                    if event == "end" and not inside:
                        yield element
                        unread = 0
                        _forget(element)
            except etree.XMLSyntaxError as error:
                raise BadInput(f"{path.name} is no XML: {error}") from None
            if unread > RECORD_MAX_BYTES:
                raise TooLarge(
                    f"{path.name} has more than {RECORD_MAX_BYTES >> 20} MiB without an element <{name}> that ends",
                    hint="say with record=NAME which element is a record",
                )
        try:
            parser.close()
        except etree.XMLSyntaxError as error:
            raise BadInput(f"{path.name} is no XML: {error}") from None


def _forget(element: Any) -> None:
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _read(element: Any, lists: frozenset[str]) -> tuple[dict[str, Any] | None, str]:
    try:
        value = _value(element, lists, 0)
    except BadInput as error:
        return None, str(error)
    return (value, "") if isinstance(value, dict) else ({TEXT: value} if value else {}, "")


def _value(element: Any, lists: frozenset[str], depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise BadInput(f"elements nest deeper than {DEPTH_MAX}")
    table: dict[str, Any] = {str(etree.QName(name).localname): str(v) for name, v in element.attrib.items()}
    for child in element:
        if not isinstance(child.tag, str):
            if isinstance(child, etree._Entity):
                raise BadInput(f"the entity {child.text} is not known")
            continue
        name = str(etree.QName(child).localname)
        value = _value(child, lists, depth + 1)
        if name in table and isinstance(table[name], list):
            table[name].append(value)
        elif name in table:
            table[name] = [table[name], value]
        else:
            table[name] = [value] if name in lists else value
    text = (element.text or "").strip()
    if not table:
        return text
    return {**table, TEXT: text} if text else table
