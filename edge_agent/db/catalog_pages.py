"""Pages of changes on their way into catalog.db: staged or built, and put in place with the cursor in one transaction.

The functions run on the writer's thread, inside a transaction of their caller's. Changes to a scope that is there
wait as they came; a scope that is loaded whole is built beside the old one. Invariant: what a till sees only ever
moves to a state whose digest is the centre's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from edge_agent.db.catalog_changes import NewRows, apply_changes, changes_of, write_new
from edge_agent.db.catalog_scopes import begin_build, drop_build
from edge_agent.db.catalog_scopes import finish_build as put_in_place
from shared import faultpoints
from shared.digest import Digest
from shared.errors import CounterflowError
from shared.protocol import framing
from shared.protocol.messages import ChangesEnvelope


class DigestDiffers(CounterflowError):
    """What came does not lead to the digest that the centre tells; nothing of it was applied."""

    code = "digest-differs"


def staged_to(connection: sqlite3.Connection, scope: str, gen: str, after: int) -> int:
    for start, page_gen, last in connection.execute(
        "SELECT after, gen, last FROM staged WHERE scope = ? ORDER BY after", (scope,)
    ).fetchall():
        if (start, page_gen) != (after, gen):
            # Begun at another cursor or in another generation: of no use any more.
            connection.execute("DELETE FROM staged WHERE scope = ? AND after >= ?", (scope, start))
            break
        after = last
    return after


def stage(connection: sqlite3.Connection, scope: str, after: int, gen: str, last: int, raw: bytes) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO staged (scope, after, gen, last, page) VALUES (?, ?, ?, ?, ?)",
        (scope, after, gen, last, raw),
    )
    faultpoints.reach("catalog.stage")


def forget_staged(connection: sqlite3.Connection, scope: str) -> None:
    connection.execute("DELETE FROM staged WHERE scope = ?", (scope,))


def apply_pages(connection: sqlite3.Connection, last: ChangesEnvelope, payloads: Sequence[bytes]) -> None:
    found = connection.execute(
        "SELECT scope_no, count, digest FROM scopes WHERE scope = ? AND gen = ?", (last.scope, last.gen)
    ).fetchone()
    if found is None:
        raise DigestDiffers(
            f"there are no rows of {last.scope} ({last.gen}) here that changes could be applied to"
        )
    scope_no, digest = found[0], Digest.of(found[1], found[2])
    starts = connection.execute(
        "SELECT after FROM staged WHERE scope = ? ORDER BY after", (last.scope,)
    ).fetchall()
    for (start,) in starts:
        (raw,) = connection.execute(
            "SELECT page FROM staged WHERE scope = ? AND after = ?", (last.scope, start)
        ).fetchone()
        envelope, lines = framing.split(raw)
        digest = apply_changes(connection, scope_no, digest, changes_of(envelope["rows"], lines))
    digest = apply_changes(connection, scope_no, digest, changes_of(last.rows, payloads))
    if (error := difference(last, digest)) is not None:
        raise error
    forget_staged(connection, last.scope)
    connection.execute(
        "UPDATE scopes SET seq = ?, count = ?, digest = ? WHERE scope_no = ?",
        (last.head, digest.count, digest.hex, scope_no),
    )
    faultpoints.reach("catalog.apply")


def build(connection: sqlite3.Connection, scope: str, seq: int, rows: NewRows) -> None:
    found = connection.execute(
        "SELECT scope_no, count, digest FROM builds WHERE scope = ?", (scope,)
    ).fetchone()
    digest = write_new(connection, found[0], Digest.of(found[1], found[2]), rows)
    connection.execute(
        "UPDATE builds SET seq = ?, count = ?, digest = ? WHERE scope_no = ?",
        (seq, digest.count, digest.hex, found[0]),
    )
    faultpoints.reach("catalog.stage")


def finish_build(connection: sqlite3.Connection, last: ChangesEnvelope, rank: int) -> DigestDiffers | None:
    """Put a scope that is built in its place; if its digest differs, only where there is nothing else."""
    digest = begin_build(connection, last.scope, last.gen).digest
    error = difference(last, digest)
    if (
        error is None
        or connection.execute("SELECT 1 FROM scopes WHERE scope = ?", (last.scope,)).fetchone() is None
    ):
        put_in_place(connection, last.scope, rank, last.head, digest)
    else:
        drop_build(connection, last.scope)
    faultpoints.reach("catalog.apply")
    return error


def difference(last: ChangesEnvelope, digest: Digest) -> DigestDiffers | None:
    """What is wrong with a scope's digest at the head that *last* tells of."""
    if (digest.count, digest.hex) == (last.count, last.digest):
        return None
    return DigestDiffers(
        f"scope {last.scope} would have {digest.count} rows with digest {digest.hex} at {last.head}; "
        f"the centre has {last.count} with {last.digest}"
    )
