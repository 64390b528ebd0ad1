"""A condition over a record, in jmespath: which records an integration takes, which fields a record gets.

False are, as in jmespath, `false`, null, an empty text, an empty list and an empty table; 0 is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from central.connectors.base import Trait
from central.mapping.errors import Fault, FieldError, MappingErrors, TooMuch
from central.mapping.names import Names
from central.mapping.paths import compile_path
from central.mapping.work import Work

Holds = Callable[[Any, Work], bool]


def compile_holds(text: str, source: Names, root: Names) -> Holds:
    get = compile_path(text, source, root)

    def holds(here: Any, work: Work) -> bool:
        value = get(here, work)
        return not (value is None or value is False or value in ("", [], {}))

    return holds


class Condition:
    """A filter over whole records.

    Raises:
        BadInput: not an expression, or it names a field that is not there.
    """

    def __init__(self, text: str, source: Mapping[str, Trait] | None = None) -> None:
        names = Names(source)
        self.text = text
        self._holds = compile_holds(text, names, names)

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether it is true of this record.

        Raises:
            MappingErrors: it cannot be told, e.g. because text would have to be compared with a number.
        """
        try:
            return self._holds(record, Work(record, {}))
        except Fault as fault:
            raise MappingErrors([FieldError("filter", fault.what, fault.value)]) from None
        except TooMuch as error:
            raise MappingErrors([FieldError("filter", error.what)]) from None
