"""Many documents into one of the target (W10), and one into many. Pure; when a group is closed is decided elsewhere.

Invariants: a merged document's amounts and quantities are exactly the sums of its members', in whatever order they
came; a correction holds only documents that the group did not have, so that group and corrections together sum to all.
Signs do the rest: what was returned is negative already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from central.connectors.base import Trait
from central.mapping.errors import Fault, FieldError, MappingErrors, TooMuch
from central.mapping.names import Names
from central.mapping.paths import compile_path
from central.mapping.work import EACH_MAX, Work
from shared.errors import BadInput, TooLarge
from shared.quantity import from_micro, to_micro

MEMBERS_MAX = 20_000
"""Documents of one group: far more than a shop's day; a chain that groups across shops splits by something."""
Document = Mapping[str, Any]

_OF_THE_HEADER = ("kind", "version", "store", "station", "business_date", "zone")
"""What a group may have in common; a number or a time is each member's own."""
_COUNTED = ("quantity", "expected")
_SEPARATE = ("product", "variant", "pack", "unit", "price_minor", "warehouse", "seller")
"""Lines that differ in one of these stay apart."""


def group_key(document: Document, by: Collection[str]) -> str:
    """The key of the group that a document belongs to: equal for equal values, and readable in a list.

    Documents of different currencies never meet. A shift is one of its station: tills number them alike.
    """
    payload = document.get("payload") or {}
    parts = {name: document.get(name, payload.get(name)) for name in by}
    parts["currency"] = payload.get("currency")
    if "shift" in parts:
        parts["station"] = document.get("station")
    return orjson.dumps(parts, option=orjson.OPT_SORT_KEYS).decode()


def merge(documents: Sequence[Document], by: Collection[str]) -> dict[str, Any]:
    """One document of all of a group's, with links back to them in `members`.

    A field that is equal in all of them stays; amounts are summed; lines of the same goods at the same price become
    one, sold and returned ones apart; payments are summed by type.

    Raises:
        BadInput: they do not belong to one group, or one is there twice.
        TooLarge: too many.
    """
    if not documents:
        raise BadInput("a group without documents cannot be merged")
    if len(documents) > MEMBERS_MAX:
        raise TooLarge(f"a group has {len(documents):,} documents; at most {MEMBERS_MAX:,} become one")
    keys = {group_key(document, by) for document in documents}
    if len(keys) > 1:
        raise BadInput(f"documents of different groups cannot be merged: {', '.join(sorted(keys)[:3])}")
    ordered = sorted(documents, key=lambda one: (str(one.get("time")), str(one.get("doc_id"))))
    if len({document["doc_id"] for document in ordered}) < len(ordered):
        raise BadInput("a document stands in its group twice")
    merged = _common([{name: document.get(name) for name in _OF_THE_HEADER} for document in ordered])
    return {
        **merged,
        "group": keys.pop(),
        "count": len(ordered),
        "members": [_member(document) for document in ordered],
        "payload": _payload([document["payload"] for document in ordered]),
    }


def correction(group: Document, late: Sequence[Document], by: Collection[str], number: int) -> dict[str, Any]:
    """What documents that came after their group was sent add to it: a merged document that names what it corrects.

    Args:
        group: as `merge` made it, or anything with its `group` key and `members`.
        number: 1 for the first correction of the group.
    Raises:
        BadInput: a document is of another group, or was in it already.
    """
    known = {member["doc_id"] for member in group["members"]}
    doubled = sorted(document["doc_id"] for document in late if document["doc_id"] in known)
    if doubled:
        raise BadInput(f"document {doubled[0]} is in the group already; it needs no correction")
    merged = merge(late, by)
    if merged["group"] != group["group"]:
        raise BadInput(f"documents of {merged['group']} cannot correct {group['group']}")
    return {**merged, "corrects": group["group"], "correction": number}


class Split:
    """One document into many: a record of the target for each element of a list.

    Args:
        path: a path or expression over the document.
    Raises:
        BadInput: not a path, or it names a field that is not there.
    """

    def __init__(self, path: str, source: Mapping[str, Trait] | None = None) -> None:
        names = Names(source)
        self._get = compile_path(path, names, names)

    def parts(self, document: Document) -> list[dict[str, Any]]:
        """The document once for each element, with `part`, `part_number` and `parts`; none where there is no list.

        Raises:
            MappingErrors: there is something else, or too much.
        """
        try:
            found = self._get(document, Work(document, {}))
        except (Fault, TooMuch) as error:
            raise MappingErrors([FieldError("split", error.what)]) from None
        if found is None:
            return []
        if not isinstance(found, list) or len(found) > EACH_MAX:
            raise MappingErrors(
                [FieldError("split", f"it is no list of at most {EACH_MAX:,} elements", found)]
            )
        return [
            {**document, "part": part, "part_number": n, "parts": len(found)}
            for n, part in enumerate(found, start=1)
        ]


def _member(document: Document) -> dict[str, Any]:
    member = {name: document.get(name) for name in ("doc_id", "kind", "number", "station", "time")}
    return {**member, "total_minor": document["payload"].get("total_minor")}


def _payload(payloads: Sequence[Document]) -> dict[str, Any]:
    lists = ("lines", "payments", "totals")
    merged = _common([{k: v for k, v in payload.items() if k not in lists} for payload in payloads])
    merged |= _sums(payloads)
    for name, key, keep in (
        ("lines", _line_key, _line),
        ("payments", _payment_key, _row),
        ("totals", _payment_key, _row),
    ):
        rows = [row for payload in payloads for row in payload.get(name) or ()]
        if rows:
            merged[name] = [{**row, "n": n} for n, row in enumerate(_merged(rows, key, keep), start=1)]
    return merged


def _merged(
    rows: Iterable[Document],
    key: Callable[[Document], Hashable],
    make: Callable[[Sequence[Document]], dict[str, Any]],
) -> list[dict[str, Any]]:
    groups: dict[Hashable, list[Document]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [make(groups[one]) for one in sorted(groups, key=repr)]


def _line_key(line: Document) -> Hashable:
    taxes = tuple(sorted((str(tax.get("code")), tax.get("rate_bp", 0)) for tax in line.get("taxes") or ()))
    return (*(line.get(name) for name in _SEPARATE), str(line.get("quantity", 0)).startswith("-"), taxes)


def _payment_key(payment: Document) -> Hashable:
    return payment.get("type"), payment.get("condition")


def _line(lines: Sequence[Document]) -> dict[str, Any]:
    merged = _row(lines)
    if "price_minor" in lines[0]:
        merged["price_minor"] = lines[0]["price_minor"]
    taxes = [tax for line in lines for tax in line.get("taxes") or ()]
    if taxes:
        merged["taxes"] = _merged(taxes, lambda tax: (tax.get("code"), tax.get("rate_bp")), _row)
    return merged


def _row(rows: Sequence[Document]) -> dict[str, Any]:
    """Lists (marks, serials) are put behind each other: every single good stays named."""
    merged = _common(rows) | _sums(rows)
    for name in dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, list)):
        merged[name] = [part for row in rows for part in row.get(name) or ()]
    for name in _COUNTED:
        if any(name in row for row in rows):
            merged[name] = from_micro(sum(to_micro(row.get(name) or 0) for row in rows))
    return merged


def _common(rows: Sequence[Document]) -> dict[str, Any]:
    first, *others = rows
    return {
        name: value
        for name, value in first.items()
        if all(name in one and one[name] == value for one in others)
    }


def _sums(rows: Sequence[Document]) -> dict[str, int]:
    """Amounts; the number of receipts of a shift counts as one."""
    names = dict.fromkeys(
        name for row in rows for name in row if name.endswith("_minor") or name in ("count", "receipts")
    )
    found = {name: [row.get(name) or 0 for row in rows] for name in names}
    return {name: sum(values) for name, values in found.items() if all(isinstance(v, int) for v in values)}
