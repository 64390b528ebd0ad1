"""Replace a scope's rows in catalog.db by those of a snapshot file.

Runs on the writer's thread, in a transaction of its own. The rows are summed by a second thread while SQLite copies
them; nothing is committed unless the sum is what the file says of itself.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from edge_agent.db.catalog_scopes import begin_build, drop_build, finish_build, sum_of
from edge_agent.db.connection import transaction
from shared import faultpoints
from shared.digest import Digest
from shared.errors import DamagedData


@dataclass(frozen=True, slots=True)
class About:
    """What a snapshot file says of itself."""

    scope: str
    gen: str
    seq: int
    count: int
    digest: str


def copy_snapshot(connection: sqlite3.Connection, file: Path, scope: str, gen: str, rank: int) -> None:
    """Replace a scope's rows by those of a snapshot file.

    Raises:
        DamagedData: it is not a snapshot of this scope and generation, or its rows do not fit its digest.
    """
    try:
        # SQLite attaches nothing inside a transaction.
        connection.execute("ATTACH ? AS snap", (_uri(file),))
        try:
            _copy(connection, file, scope, gen, rank)
        finally:
            connection.execute("DETACH snap")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _FOREIGN:
            raise
        # Not chained: whoever sees the cause would take catalog.db for the damaged one.
        raise DamagedData(
            f"the snapshot of {scope} cannot be read: {error}", hint="it is fetched again"
        ) from None


_FOREIGN = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_CANTOPEN}
"""Some other database (a table is missing), or none at all."""


def _uri(file: Path) -> str:
    return f"{file.absolute().as_uri()}?mode=ro&immutable=1"


def _copy(connection: sqlite3.Connection, file: Path, scope: str, gen: str, rank: int) -> None:
    about = About(
        *(connection.execute("SELECT scope, gen, seq, count, digest FROM snap.about").fetchone() or [""] * 5)
    )
    if (about.scope, about.gen) != (scope, gen):
        raise DamagedData(f"the snapshot is of scope {about.scope} ({about.gen}), not of {scope} ({gen})")
    summing = _Summing(file)
    try:
        with transaction(connection):
            drop_build(connection, scope)
            build = begin_build(connection, scope, gen)
            for statement in _COPY:
                connection.execute(statement, {"scope_no": build.scope_no})
            summing.check(about)
            finish_build(connection, scope, rank, about.seq, Digest.of(about.count, about.digest))
            faultpoints.reach("snapshot.copy")
    finally:
        summing.stop()


_COPY = (
    "INSERT INTO rows SELECT :scope_no, entity, key, version, payload FROM snap.rows",
    "INSERT OR IGNORE INTO barcodes SELECT barcode, :scope_no, key, product, variant, pack FROM snap.barcodes",
    "INSERT INTO prices SELECT product, :scope_no, key, variant, pack, price_list, valid_from, valid_until"
    " FROM snap.prices",
    "INSERT INTO products (scope_no, key, code, name, measured)"
    " SELECT :scope_no, key, code, name, measured FROM snap.products",
)


class _Summing:
    """The digest of a snapshot's rows, computed by a thread of its own on a connection of its own."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._digest = Digest()
        self._error: Exception | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="snapshot-digest")
        self._thread.start()

    def _run(self) -> None:
        try:
            connection = sqlite3.connect(_uri(self._file), uri=True)
            try:
                self._digest = sum_of(
                    connection.execute("SELECT entity, key, version FROM rows"), lambda: self._stopped
                )
            finally:
                connection.close()
        except Exception as error:
            self._error = error

    def stop(self) -> None:
        self._stopped = True
        self._thread.join()

    def check(self, about: About) -> None:
        """Raise unless the rows are those that *about* speaks of."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if (self._digest.count, self._digest.hex) != (about.count, about.digest):
            raise DamagedData(
                f"the snapshot of {about.scope} holds {self._digest.count} rows with digest {self._digest.hex}, "
                f"it says {about.count} with {about.digest}"
            )
