"""What an error of the database means: try the same again, park these rows, or tell the caller to come back.

Errors come through SQLAlchemy or, on the paths that every document takes, from the driver itself. They are told apart
by their codes, never by their text.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError

from shared.errors import CannotStore, CounterflowError, Unavailable

RETRY_AFTER_S = 2

_LOST_A_RACE = {"40001", "40P01"}  # serialization failure, deadlock
_CAME_SECOND = "23505"  # unique violation
_CANNOT_STORE = {"53100", "53200", "58030", "25006"}  # disk full, no memory, I/O error, read-only
_CANNOT_STORE_SQLITE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CORRUPT", "SQLITE_NOTADB")
_AT_FAULT = {"DataError", "IntegrityError", "OverflowError", "UnicodeEncodeError"}


def lost_a_race(error: BaseException) -> bool:
    """Whether the same transaction may well succeed now."""
    return _sqlstate(error) in _LOST_A_RACE


def came_second(error: BaseException) -> bool:
    """Whether another node has stored a row of the same key meanwhile; who looks again will find it."""
    return _sqlstate(error) == _CAME_SECOND


def is_at_fault(error: BaseException) -> bool:
    """Whether it is the rows themselves that the database refuses, now and whenever they are tried again."""
    if state := _sqlstate(error):
        return state.startswith(("22", "23"))  # data exception, integrity violation
    return any(kind.__name__ in _AT_FAULT for kind in type(_cause(error)).__mro__)


def storage_problem(error: BaseException) -> CounterflowError:
    """What a caller is told about an error of the database: nothing was stored, try again later."""
    cause, state = _cause(error), _sqlstate(error)
    name = str(getattr(cause, "sqlite_errorname", ""))
    if name.startswith(_CANNOT_STORE_SQLITE) or state in _CANNOT_STORE:
        return CannotStore(
            f"the centre's database refused to store: {cause}",
            hint="look at the centre's disk",
            retry_after_s=RETRY_AFTER_S,
        )
    if (
        name
        or state
        or isinstance(error, (DBAPIError, OSError))
        or type(cause).__module__.startswith("asyncpg")
    ):
        return Unavailable(f"the centre's database does not answer: {cause}", retry_after_s=RETRY_AFTER_S)
    return CounterflowError(f"the centre failed: {type(cause).__name__}", hint="its log holds the details")


def _cause(error: BaseException) -> Any:
    return (error.orig or error) if isinstance(error, DBAPIError) else error


def _sqlstate(error: BaseException) -> str | None:
    state: str | None = getattr(_cause(error), "sqlstate", None)
    return state
