"""Bring sales into Tryton, each once.

Tryton lets nobody write a sale's number, and a sale has no other field for a key of ours. So a sale is made in three
steps, and only the last has an effect: an open draft, which touches neither books nor stock; a note at it that holds
receipt number and delivery key, by which it is found again; and, once the note is seen, `process` and `post`, which
Tryton does once for a sale however often they are asked for. Rule: where a key stands at several drafts, the first
note's counts. A draft whose note was never written is nobody's, and is removed after a while. So each of the steps
may be repeated where its answer was lost: a second draft and a second note have no effect, nor a button pressed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from central.connectors.base import Delivery, Rejection, TargetDenies, TargetRejects, Written
from central.connectors.tryton import sales
from central.connectors.tryton.rpc import Tryton

SALE = "sale.point.sale"
ORPHAN_AFTER = timedelta(minutes=10)
"""Longer than any call lasts: what has no note by then has lost the process that was to write it."""
ORPHANS_MAX = 100
CANDIDATES = 1_000
"""Sales whose notes are asked for at once."""
PRESSED_AT_ONCE = 10
"""Tryton books a third of a second at each sale, longer in long transactions, and holds its locks meanwhile."""
_POINT = ("name", "company.currency.code", "company.currency.digits", "tax_included")


@dataclass(frozen=True, slots=True)
class Draft:
    """A sale in Tryton that bears one of our keys."""

    id: int
    state: str
    number: str | None
    lines: Sequence[int]
    payments: Sequence[int]


def reference(delivery: Delivery) -> str:
    """What the note at a sale says: the receipt's number for people, the delivery key for us."""
    return f"{delivery.number} {delivery.key}"


async def look(tryton: Tryton, deliveries: Iterable[Delivery]) -> dict[str, Draft]:
    """The sale of each of these, by reference, as far as there is one.

    Tryton searches notes only among records that are named, so the sales of the same points and days are asked for
    first.
    """
    references, days = set(), set()
    for one in deliveries:
        references.add(reference(one))
        days.add((str((one.record or {}).get("point")), sales.day((one.record or {}).get("date"))))
    alike = [[["point.name", "=", point], ["date", "=", day]] for point, day in days if day is not None]
    candidates: list[int] = []
    if alike:
        candidates = await tryton.call(f"model.{SALE}.search", ["OR", *alike], 0, None, [["id", "ASC"]])
    bearers: dict[str, list[tuple[int, int]]] = {}
    for start in range(0, len(candidates), CANDIDATES):
        resources = [f"{SALE},{number}" for number in candidates[start : start + CANDIDATES]]
        domain = [["resource", "in", resources], ["message", "in", sorted(references)]]
        order = [["id", "ASC"]]
        for note in await tryton.call(
            "model.ir.note.search_read", domain, 0, None, order, ["message", "resource"]
        ):
            number = int(note["resource"].rpartition(",")[2])
            bearers.setdefault(note["message"], []).append((note["id"], number))
    wanted = [number for its in bearers.values() for _, number in its]
    if not wanted:
        return {}
    fields = ["state", "number", "lines", "payments"]
    rows = await tryton.call(f"model.{SALE}.read", wanted, fields)
    drafts = {
        row["id"]: Draft(row["id"], row["state"], row["number"], row["lines"], row["payments"])
        for row in rows
    }
    # What has had its effect comes before every draft, then the first note.
    return {
        ref: drafts[min(its, key=lambda one: (drafts[one[1]].state not in ("done", "posted"), one[0]))[1]]
        for ref, its in bearers.items()
    }


class Selling:
    """One batch on its way through Tryton's states.

    Args:
        post: whether sales are booked; else they stay done.
        rounding_product: code of the service whose line takes the difference of a rounded total.
    """

    def __init__(self, tryton: Tryton, *, post: bool, rounding_product: str | None) -> None:
        self._tryton = tryton
        self._post = post
        self._rounding_product = rounding_product
        self.rejected: dict[str, Rejection] = {}

    async def carry(self, deliveries: Sequence[Delivery]) -> dict[str, Written]:
        """Bring every sale to its last state; those that Tryton refused are in `rejected`, both by delivery key.

        Raises:
            TargetDenies: the user lacks a right, so that no sale is parked for it.
        """
        try:
            return await self._carry(deliveries)
        except TargetRejects as error:
            await self._require_rights(error)
            raise

    async def _carry(self, deliveries: Sequence[Delivery]) -> dict[str, Written]:
        keys = {reference(one): one.key for one in deliveries}
        there = await look(self._tryton, deliveries)
        known = await self._known([one.record or {} for one in deliveries])
        new: dict[str, dict[str, Any]] = {}
        stopped: dict[str, dict[str, Any]] = {}
        buyers: dict[str, str] = {}
        for one in deliveries:
            ref = reference(one)
            try:
                values = sales.values(one.record or {}, known, self._rounding_product)
                draft = there.get(ref)
                if draft is None:
                    new[ref] = values
                    if party := (one.record or {}).get("party"):
                        buyers[ref] = f"Customer: {known.parties[str(party)]} (party {party})"
                elif draft.state == "cancelled":
                    raise sales.Unfit("the sale was cancelled in Tryton by hand", f"sale {draft.id}")
                elif draft.state == "open":
                    stopped[ref] = values
            except sales.Unfit as unfit:
                self.rejected[one.key] = unfit.rejection
        await self._rewrite(stopped, there, keys)
        await self._make(new, buyers, keys)
        # Looked at again, so that only what bears a note, and bears it first, has an effect.
        there = {
            ref: draft
            for ref, draft in (await look(self._tryton, deliveries)).items()
            if keys[ref] not in self.rejected
        }
        await self._press("process", "open", there, keys)
        if self._post:
            await self._press("post", "done", there, keys)
        if new:
            await self._remove_orphans(max(draft.id for draft in there.values()) if there else 0)
        return {
            keys[ref]: Written(str(draft.id), draft.number)
            for ref, draft in (await look(self._tryton, deliveries)).items()
            if keys[ref] not in self.rejected
        }

    async def _rewrite(
        self, stopped: Mapping[str, Mapping[str, Any]], there: Mapping[str, Draft], keys: Mapping[str, str]
    ) -> None:
        """What stopped on the way may have been made of another mapping: it gets today's lines, all in one call."""
        for refs in _whole_then_single(list(stopped)):
            pairs = [part for ref in refs for part in ([there[ref].id], _changes(there[ref], stopped[ref]))]
            try:
                await self._tryton.call(f"model.{SALE}.write", *pairs)
                if len(refs) > 1:
                    return
            except TargetRejects as error:
                if len(refs) == 1:
                    self.rejected[keys[refs[0]]] = await self._why(error)

    async def _make(
        self, new: Mapping[str, Mapping[str, Any]], buyers: Mapping[str, str], keys: Mapping[str, str]
    ) -> None:
        """Make drafts and their notes: all at once, or one by one where Tryton refuses one of them."""
        done: set[str] = set()
        for refs in _whole_then_single(list(new)):
            left = [ref for ref in refs if ref not in done]
            if not left:
                continue
            try:
                drafts = [new[ref] for ref in left]
                numbers = await self._tryton.call(f"model.{SALE}.create", drafts, repeats=True)
                notes = [
                    {"resource": f"{SALE},{number}", "message": message}
                    for number, ref in zip(numbers, left, strict=True)
                    for message in (ref, buyers.get(ref))
                    if message
                ]
                await self._tryton.call("model.ir.note.create", notes, repeats=True)
                done.update(left)
            except TargetRejects as error:
                if len(refs) == 1:
                    self.rejected[keys[refs[0]]] = await self._why(error)

    async def _press(
        self, button: str, state: str, there: Mapping[str, Draft], keys: Mapping[str, str]
    ) -> None:
        """Press a button on all sales that are in its state, or on one by one where Tryton refuses."""
        all_refs = list(there)
        for start in range(0, len(all_refs), PRESSED_AT_ONCE):
            for refs in _whole_then_single(all_refs[start : start + PRESSED_AT_ONCE]):
                numbers = {there[ref].id: ref for ref in refs if keys[ref] not in self.rejected}
                in_state = [["id", "in", list(numbers)], ["state", "=", state]]
                here = await self._tryton.call(f"model.{SALE}.search", in_state, 0, None, None)
                try:
                    if here:
                        await self._tryton.call(f"model.{SALE}.{button}", here, repeats=True)
                    if len(refs) > 1:
                        break
                except TargetRejects as error:
                    if len(refs) == 1:
                        self.rejected[keys[refs[0]]] = await self._why(error)

    async def _remove_orphans(self, newest: int) -> None:
        """Open drafts of our user that never got a note; by Tryton's own clock."""
        if not newest:
            return
        (last,) = await self._tryton.call(f"model.{SALE}.read", [newest], ["create_date", "create_uid"])
        before = (last["create_date"] - ORPHAN_AFTER).replace(tzinfo=None)
        domain = [
            ["state", "=", "open"],
            ["create_uid", "=", last["create_uid"]],
            ["create_date", "<", before],
        ]
        old = await self._tryton.call(f"model.{SALE}.search", domain, 0, ORPHANS_MAX, [["id", "ASC"]])
        if not old:
            return
        resources = [f"{SALE},{number}" for number in old]
        notes = await self._tryton.call(
            "model.ir.note.search_read", [["resource", "in", resources]], 0, None, None, ["resource"]
        )
        noted = {note["resource"] for note in notes}
        orphans = [number for number in old if f"{SALE},{number}" not in noted]
        if orphans:
            await self._tryton.call(f"model.{SALE}.delete", orphans)

    async def _why(self, error: TargetRejects) -> Rejection:
        await self._require_rights(error)
        return Rejection(str(error.extra["reason"]), error.what)

    async def _require_rights(self, error: TargetRejects) -> None:
        """Tryton tells a missing right as it tells any mistake; whether it is one is asked for."""
        rights = (await self._tryton.call("model.ir.model.access.get_access", [SALE]))[SALE]
        missing = [name for name in ("read", "write", "create", "delete") if not rights[name]]
        if missing:
            raise TargetDenies(
                f"the user may not {', '.join(missing)} sales in Tryton: {error.what}",
                hint="put the user into the group POS",
            ) from error

    async def _known(self, records: Sequence[Mapping[str, Any]]) -> sales.Known:
        """What the names in the records stand for, as it is now."""
        codes = sales.codes(records) | ({self._rounding_product} if self._rounding_product else set())
        search = self._tryton.call
        rows = await search("model.sale.point.search_read", [], 0, None, None, list(_POINT))
        methods = await search(
            "model.sale.point.payment.method.search_read", [], 0, None, None, ["name", "cash"]
        )
        products: dict[str, list[int]] = {}
        for row in await search(
            "model.product.product.search_read", [["code", "in", sorted(codes)]], 0, None, None, ["code"]
        ):
            products.setdefault(row["code"], []).append(row["id"])
        wanted = sorted({str(record["party"]) for record in records if record.get("party")})
        numbers = [int(party) for party in wanted if party.isdecimal()]
        buyers = []
        if numbers:
            buyers = await search(
                "model.party.party.search_read", [["id", "in", numbers]], 0, None, None, ["rec_name"]
            )
        return sales.Known(
            {row["name"]: _point(row) for row in rows if row["tax_included"]},
            {row["name"]: sales.Method(row["id"], cash=bool(row["cash"])) for row in methods},
            products,
            {str(row["id"]): row["rec_name"] for row in buyers},
        )


def _changes(draft: Draft, values: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {"date": values["date"]}
    for name, old in (("lines", draft.lines), ("payments", draft.payments)):
        changes[name] = [*([["delete", list(old)]] if old else []), *values[name]]
    return changes


def _whole_then_single(refs: list[str]) -> list[list[str]]:
    return [refs, *([ref] for ref in refs if len(refs) > 1)] if refs else []


def _point(row: Mapping[str, Any]) -> sales.Point:
    company = row["company."]
    currency = company["currency."]
    return sales.Point(row["id"], company["id"], currency["code"], Decimal(1).scaleb(-currency["digits"]))
