"""The scopes of catalog.db as wholes: begun, dropped, counted, and what of them is done in the background.

The functions run on the writer's thread, inside a transaction of their caller's. A scope is replaced or dropped by
one row of `scopes`, whatever its size; what it leaves behind is invisible at once and deleted in turns.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from shared.canonical import version_of
from shared.digest import Digest, row_hash

NAMES_PER_TURN = 25_000
"""Names indexed in one transaction: about 0.15 s, after which changes and scopes get their turn."""
LEFTOVERS_PER_TURN = 25_000


@dataclass(frozen=True, slots=True)
class Build:
    """A scope that is being loaded whole: its number, and how far it is."""

    scope_no: int
    seq: int
    digest: Digest


def begin_build(connection: sqlite3.Connection, scope: str, gen: str) -> Build:
    """Begin to load a scope whole, or go on with it where that was begun in this generation."""
    found = connection.execute(
        "SELECT scope_no, gen, seq, count, digest FROM builds WHERE scope = ?", (scope,)
    ).fetchone()
    if found is not None and found[1] == gen:
        return Build(found[0], found[2], Digest.of(found[3], found[4]))
    drop_build(connection, scope)
    cursor = connection.execute(
        "INSERT INTO builds (scope, gen, seq, count, digest) VALUES (?, ?, 0, 0, '0')", (scope, gen)
    )
    assert cursor.lastrowid is not None
    return Build(cursor.lastrowid, 0, Digest())


def finish_build(connection: sqlite3.Connection, scope: str, rank: int, seq: int, digest: Digest) -> None:
    """Put a scope that is built in the place of the one that look-ups see."""
    drop_scope(connection, scope)
    connection.execute(
        "INSERT INTO scopes (scope_no, scope, gen, rank, seq, count, digest)"
        " SELECT scope_no, scope, gen, ?, ?, ?, ? FROM builds WHERE scope = ?",
        (rank, seq, digest.count, digest.hex, scope),
    )
    connection.execute("DELETE FROM builds WHERE scope = ?", (scope,))


def drop_build(connection: sqlite3.Connection, scope: str) -> None:
    """Give up building a scope; what was built of it goes in the background."""
    connection.execute("INSERT INTO leftovers SELECT scope_no FROM builds WHERE scope = ?", (scope,))
    connection.execute("DELETE FROM builds WHERE scope = ?", (scope,))


def drop_scope(connection: sqlite3.Connection, scope: str) -> None:
    """Take a scope away: at once for every look-up, its rows in the background."""
    connection.execute("INSERT INTO leftovers SELECT scope_no FROM scopes WHERE scope = ?", (scope,))
    connection.execute("DELETE FROM scopes WHERE scope = ?", (scope,))
    connection.execute("DELETE FROM staged WHERE scope = ?", (scope,))


def correct_digest(connection: sqlite3.Connection, scope: str) -> Digest | None:
    """Add up a scope's rows from their payloads; the true digest, which is kept, where it is not the known one."""
    found = connection.execute(
        "SELECT scope_no, count, digest FROM scopes WHERE scope = ?", (scope,)
    ).fetchone()
    if found is None:
        return None
    count = total = 0
    rows = "SELECT entity, key, CAST(payload AS BLOB) FROM rows WHERE scope_no = ?"
    for entity, key, payload in connection.execute(rows, found[:1]):
        count += 1
        total += row_hash(entity, key, version_of(payload))
    digest = Digest().shift(count, total)
    if (digest.count, digest.hex) == found[1:]:
        return None
    connection.execute(
        "UPDATE scopes SET count = ?, digest = ? WHERE scope = ?", (digest.count, digest.hex, scope)
    )
    return digest


def remove_leftovers(connection: sqlite3.Connection) -> bool:
    """Delete some rows that no scope bears any more; whether there are more."""
    left = connection.execute("SELECT scope_no FROM leftovers LIMIT 1").fetchone()
    if left is None:
        return False
    rows = connection.execute(
        "DELETE FROM rows WHERE (scope_no, entity, key) IN"
        " (SELECT scope_no, entity, key FROM rows WHERE scope_no = ? LIMIT ?)",
        (*left, LEFTOVERS_PER_TURN),
    )
    if rows.rowcount:
        return True
    connection.execute("DELETE FROM barcodes WHERE scope_no = ?", left)
    connection.execute("DELETE FROM prices WHERE scope_no = ?", left)
    if connection.execute("DELETE FROM products WHERE scope_no = ?", left).rowcount:
        # Words of removed products: the index is built again, which costs less than taking them out one by one.
        connection.execute("INSERT INTO names (names) VALUES ('delete-all')")
        connection.execute("UPDATE progress SET names_upto = 0")
    connection.execute("DELETE FROM leftovers WHERE scope_no = ?", left)
    return True


def index_names(connection: sqlite3.Connection) -> bool:
    """Take some more names into the name index; whether there are more."""
    last = connection.execute(
        "SELECT max(product_no) FROM (SELECT product_no FROM products"
        " WHERE product_no > (SELECT names_upto FROM progress) ORDER BY product_no LIMIT ?)",
        (NAMES_PER_TURN,),
    ).fetchone()[0]
    if last is None:
        return False
    connection.execute(
        "INSERT INTO names (rowid, name) SELECT product_no, searchable(name) FROM products"
        " WHERE product_no > (SELECT names_upto FROM progress) AND product_no <= ? ORDER BY product_no",
        (last,),
    )
    connection.execute("UPDATE progress SET names_upto = ?", (last,))
    return True
