"""A scripted system that has a directory too: parties and lists that are searched, made and taken back.

A step of `System.directory` is used up by one `create`: `ok`; `lost` (made, no answer), `cut` (not made, no answer),
`away`, `denied`, `refused`. `find` fails while `System.is_deaf`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from central.connectors.base import (
    Connector,
    NoAnswer,
    Rejection,
    Target,
    TargetAway,
    TargetDenies,
    TargetRejects,
    Trait,
    Written,
)
from tests.support.scripted_connector import ScriptedConnector, System


class Directory(System):
    """Another system with records that can be searched."""

    def __init__(self) -> None:
        super().__init__()
        self.directory: deque[str] = deque()
        self.records: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.is_deaf = False
        self.searches = 0

    def put(self, target: str, **record: Any) -> str:
        """A record that somebody made over there; returns its id."""
        number = str(sum(map(len, self.records.values())) + 1)
        self.records.setdefault(target, {})[number] = record
        return number

    def all(self, target: str) -> list[Mapping[str, Any]]:
        return list(self.records.get(target, {}).values())


class DirectoryConnector(ScriptedConnector):
    title = "A directory"
    targets: ClassVar[Mapping[str, Target]] = {
        "orders": Target("orders"),
        "parties": Target(
            "parties",
            {name: Trait() for name in ("inn", "kpp", "ours", "name", "form", "city")},
            undo=True,
            find=("inn", "kpp", "ours"),
            create=True,
        ),
        "forms": Target("legal forms", {"name": Trait()}, undo=True, find=("name",), create=True),
        "currencies": Target("currencies", {"code": Trait()}, find=("code",)),
    }

    @property
    def directory(self) -> Directory:
        assert isinstance(self.system, Directory)
        return self.system

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        self.directory.searches += 1
        if self.directory.is_deaf:
            raise TargetAway("the directory does not answer")
        listed = self.directory.records.get(target, {})
        return {
            value: [number for number, record in listed.items() if record.get(field_name) == value]
            for value in values
        }

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        step = self.directory.directory.popleft() if self.directory.directory else "ok"
        match step:
            case "away":
                raise TargetAway("busy", retry_after_s=20.0)
            case "denied":
                raise TargetDenies("no rights")
            case "refused":
                raise TargetRejects("the city is missing", reason="no city")
            case "cut":
                raise NoAnswer("the line broke")
        number = self.directory.put(target, **record)
        if step == "lost":
            raise NoAnswer("the answer was lost")
        return Written(number)

    async def undo(self, target: str, ids: Sequence[str]) -> Mapping[str, Rejection]:
        for number in ids:
            del self.directory.records[target][number]
        return {}


DIRECTORY: dict[str, type[Connector]] = {"directory": DirectoryConnector}
