"""A list half read: its rows checked one by one, and in the end what is told of it. Pure.

Invariant: a row that could not be understood never counts as absent from a complete list; where not even its key can
be told, no row does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from central.catalog.publish import Complete
from central.catalog.rows import read_key, read_row
from central.connectors.base import Incoming, ListAbout, SourceRow
from shared.catalog.changes import Change
from shared.catalog.entities import ENTITIES
from shared.errors import BadInput

ERRORS_KEPT = 1_000


@dataclass(slots=True)
class ListProgress:
    """A list half read."""

    about: ListAbout
    rows: int = 0
    accepted: int = 0
    written: int = 0
    absent: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    held: int = 0
    newest: tuple[str, Change] | None = None
    """Scope and change of the row that was accepted last."""
    keys: dict[str, set[str]] = field(default_factory=dict)
    """scope -> keys that a complete list has there."""
    unplaced: set[str] = field(default_factory=set)
    """Keys of rows that are wrong otherwise, so that their scope cannot be told."""
    seqs: dict[str, list[int]] = field(default_factory=dict)
    keyless: bool = False

    @property
    def key_count(self) -> int:
        return sum(map(len, self.keys.values())) + len(self.unplaced)

    def read(self, part: Sequence[SourceRow]) -> None:
        """Check rows; blocks for a while, so it is called outside the event loop."""
        for row in part:
            self.rows += 1
            values = _with_scope(row.values or {}, self.about)
            try:
                if row.why:
                    raise BadInput(row.why)
                _check_scope(values, self.about)
                scope, change = read_row(self.about.entity, values, self.about.scope, deleted=row.deleted)
            except BadInput as error:
                key = read_key(ENTITIES[self.about.entity], values)
                if key is None:
                    self.keyless = True
                else:
                    self.seen(self.about.scope, key)
                self.reject(row.line, key, str(error).removeprefix(f"{self.about.entity}: "))
                continue
            self.seen(scope, change.key)
            self.accepted += 1
            self.newest = scope, change
            self._hold(scope, change)

    def put(self, scope: str, key: str, payload: bytes | None) -> None:
        """A change that is no row of the list: something that is gone over there."""
        self._hold(scope, Change(self.about.entity, key, payload))

    def _hold(self, scope: str, change: Change) -> None:
        self.held += 1
        self.changes.setdefault(scope, []).append(change)

    def cut(self, why: str) -> None:
        """The list cannot be read any further; what it would have held is not known."""
        self.keyless = True
        self.reject(0, None, f"{why}; the list was not read any further")

    def report(
        self, integration: str, incoming: Incoming, refusal: str, started: str, finished: str
    ) -> dict[str, Any]:
        """What became of the list; *refusal* says why it was not taken, if it was not."""
        about = self.about
        taken = 0 if refusal and about.on_error == "stop" else self.accepted
        what = f"{self.rows} rows: {taken} taken, {self.written} changed, {self.rejected} rejected."
        if about.mode == "complete":
            what += f" {self.absent} rows of the scope were not in the list."
            if self.keyless:
                what += " Some rejected rows have no key, so none of them was treated as absent."
        return {
            "file": incoming.name,
            "integration": integration,
            "sha256": incoming.sha256.hex(),
            "entity": about.entity,
            "scope": about.scope,
            "mode": about.mode,
            "on_error": about.on_error,
            "result": "refused" if refusal else "taken",
            "what": f"{refusal}. {what}" if refusal else what,
            "rows": self.rows,
            "taken": taken,
            "changed": self.written,
            "absent": self.absent,
            "rejected": self.rejected,
            "errors": self.errors,
            "seqs": self.seqs,
            "started": started,
            "finished": finished,
        }

    def complete(self) -> list[Complete]:
        """What a complete list means for the scopes that it was about: the stated one, or those that its rows are in.

        A scope of which the list has no row at all is left as it is: a shop that drops out of a day's list keeps its
        prices.
        """
        if self.about.mode != "complete" or self.keyless:
            return []
        scopes = {self.about.scope} if self.about.scope else self.keys.keys()
        return [
            Complete(
                scope, self.about.entity, self.keys.get(scope, set()) | self.unplaced, self.about.absence
            )
            for scope in sorted(scopes)
        ]

    def seen(self, scope: str | None, key: str) -> None:
        """A row of this key stands in the list, whatever became of it; *scope* None: nobody knows where."""
        if self.about.mode != "complete":
            return
        if scope is None:
            self.unplaced.add(key)
        else:
            self.keys.setdefault(scope, set()).add(key)

    def reject(self, line: int, key: str | None, why: str, **more: Any) -> None:
        """Note a row that is not taken."""
        self.rejected += 1
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append({"line": line, "key": key, "why": why, **more})


def _with_scope(values: dict[str, Any], about: ListAbout) -> dict[str, Any]:
    """A price in a list for one price list belongs to that one, unless the row names another."""
    family, _, code = (about.scope or "").partition("/")
    return {"price_list": code} | values if family == "pricelist" and about.entity == "price" else values


def _check_scope(values: dict[str, Any], about: ListAbout) -> None:
    family, _, code = (about.scope or "").partition("/")
    if family == "pricelist" and about.entity == "price" and values["price_list"] != code:
        raise BadInput(f'price_list is "{values["price_list"]}", but the list is for {code}')
