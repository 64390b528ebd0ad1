"""Replace a scope's rows in catalog.db by those of a snapshot file.

The functions run on the writer's thread. The file's SHA-256 is proven before it comes here, so its rows are the
centre's, byte for byte, and serve look-ups at once; then they are added up from their payloads, and if they do not
lead to the digest that the file tells, the scope that they replaced takes its place again. Where there was none
they stay, under their own digest: the alarm is raised all the same, and a till is not left with nothing.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from edge_agent.db.catalog_scopes import begin_build, correct_digest, drop_build, drop_scope, finish_build
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


Replaced = tuple[int, str, str, int, int, int, str] | None
"""The row of `scopes` that a snapshot replaced."""


def copy_snapshot(connection: sqlite3.Connection, file: Path, scope: str, gen: str, rank: int) -> Replaced:
    """Replace a scope's rows by those of a snapshot file, in a transaction of its own.

    Raises:
        DamagedData: it is not a snapshot of this scope and generation.
    """
    try:
        # SQLite attaches nothing inside a transaction.
        connection.execute("ATTACH ? AS snap", (f"{file.absolute().as_uri()}?mode=ro&immutable=1",))
        try:
            return _copy(connection, scope, gen, rank)
        finally:
            connection.execute("DETACH snap")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _FOREIGN:
            raise
        # Not chained: whoever sees the cause would take catalog.db for the damaged one.
        raise DamagedData(
            f"the snapshot of {scope} cannot be read: {error}", hint="it is fetched again"
        ) from None


def prove(connection: sqlite3.Connection, scope: str, replaced: Replaced) -> None:
    """Add up the rows of a scope that was copied; runs in a transaction of its own.

    Raises:
        DamagedData: they do not have its digest; the scope is what it was before, if there was one.
    """
    with transaction(connection):
        known = connection.execute("SELECT count, digest FROM scopes WHERE scope = ?", (scope,)).fetchone()
        counted = correct_digest(connection, scope)
        if counted is None:
            return
        if replaced is not None:
            drop_scope(connection, scope)
            # Its rows are still there: leftovers go only when nothing else is to be done.
            connection.execute("DELETE FROM leftovers WHERE scope_no = ?", replaced[:1])
            connection.execute(
                "INSERT INTO scopes (scope_no, scope, gen, rank, seq, count, digest) VALUES (?, ?, ?, ?, ?, ?, ?)",
                replaced,
            )
    raise DamagedData(
        f"the snapshot of {scope} holds {counted.count} rows with digest {counted.hex}, "
        f"it tells {known[0]} with {known[1]}"
    )


_FOREIGN = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_CANTOPEN}
"""Some other database (a table is missing), or none at all."""


def _copy(connection: sqlite3.Connection, scope: str, gen: str, rank: int) -> Replaced:
    about = About(
        *(connection.execute("SELECT scope, gen, seq, count, digest FROM snap.about").fetchone() or [""] * 5)
    )
    if (about.scope, about.gen) != (scope, gen):
        raise DamagedData(f"the snapshot is of scope {about.scope} ({about.gen}), not of {scope} ({gen})")
    replaced: Replaced = connection.execute(
        "SELECT scope_no, scope, gen, rank, seq, count, digest FROM scopes WHERE scope = ?", (scope,)
    ).fetchone()
    with transaction(connection):
        drop_build(connection, scope)
        build = begin_build(connection, scope, gen)
        for statement in _COPY:
            connection.execute(statement, {"scope_no": build.scope_no})
        finish_build(connection, scope, rank, about.seq, Digest.of(about.count, about.digest))
        faultpoints.reach("snapshot.copy")
    return replaced


_COPY = (
    "INSERT INTO rows SELECT :scope_no, entity, key, version, payload FROM snap.rows",
    "INSERT OR IGNORE INTO barcodes SELECT barcode, :scope_no, key, product, variant, pack FROM snap.barcodes",
    "INSERT INTO prices SELECT product, :scope_no, key, variant, pack, price_list, valid_from, valid_until"
    " FROM snap.prices",
    "INSERT INTO products (scope_no, key, code, name, measured)"
    " SELECT :scope_no, key, code, name, measured FROM snap.products",
)
