"""Decide what the station does next to agree with the centre about its journal.

Rule 1: nothing here waits, reads or writes; facts come in, one `Step` goes out, and `edge_agent/sync/upload.py`
performs it. Rule 2: selling never depends on this module. Rule 3: only what the centre confirmed with the head that
the station itself holds moves a cursor (docs/protocol, R1 to R7). Its twin at the centre is `central/intake/decide.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PUSH_BATCH_DOCUMENTS = 500
"""Documents in one push: 0.75 MB of JSON, 0.15 MB on the wire; one transaction at the centre."""
RETAIN_MS = 35 * 86_400_000
"""Safe documents are kept so long: for returns, and as a second copy."""


@dataclass(frozen=True, slots=True)
class LocalEpoch:
    """An epoch as the journal has it.

    `first` is the lowest seq still kept (1 unless a safe prefix was purged), `folded` is set once its documents that
    the centre did not confirm were journaled again in another epoch; it is not pushed any more.
    """

    epoch: bytes
    first: int
    last: int
    head: bytes
    safe_seq: int
    safe_head: bytes
    folded: bool = False


@dataclass(frozen=True, slots=True)
class ServerEpoch:
    """The same epoch as the centre told it; `local_head` is the station's own head at the centre's `last`.

    `local_head` is None where the station does not hold that position.
    """

    last: int
    head: bytes
    safe_seq: int
    safe_head: bytes
    local_head: bytes | None


@dataclass(frozen=True, slots=True)
class OpenSession:
    """No valid session: say hello and claim the epochs."""


@dataclass(frozen=True, slots=True)
class Fold:
    """The centre holds another branch of this epoch: what follows *after* is journaled again, in a fresh epoch."""

    epoch: bytes
    after: int


@dataclass(frozen=True, slots=True)
class Push:
    """Send documents *first_seq* to *last_seq* of this epoch."""

    epoch: bytes
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Idle:
    """The centre has all there is."""


Step = OpenSession | Fold | Push | Idle


def next_step(
    epochs: Sequence[LocalEpoch],
    cursors: Mapping[bytes, ServerEpoch] | None,
    batch_documents: int = PUSH_BATCH_DOCUMENTS,
) -> Step:
    """The one next step of the upward line.

    Args:
        epochs: all epochs that the journal holds, oldest first.
        cursors: what this session knows of the centre's side, by epoch; None without a session.
        batch_documents: most documents in one push (lowered after a 413).
    """
    if cursors is None:
        return OpenSession()
    for local in epochs:
        if local.folded:
            continue
        server = cursors.get(local.epoch)
        if server is None:
            # Begun after the session: the centre has never heard of it, and R2 says that it will take it from 1.
            cursor = 0
        elif forked(local, server):
            return Fold(local.epoch, verified_safe(local, server))
        else:
            cursor = server.last
        if cursor + 1 < local.first:
            # The centre lost what was purged here as safe: what is left goes up as a branch of its own.
            return Fold(local.epoch, local.first - 1)
        if cursor < local.last:
            return Push(local.epoch, cursor + 1, min(local.last, cursor + batch_documents))
    return Idle()


def forked(local: LocalEpoch, server: ServerEpoch) -> bool:
    """Whether the centre holds another branch of this epoch (its head at `last` is not the one held here)."""
    if server.last == 0:
        return False
    if server.last < local.first - 1:
        # That position was purged here, so it was safe and confirmed once; `next_step` folds what is left.
        return False
    return server.local_head != server.head


def verified_safe(local: LocalEpoch, server: ServerEpoch) -> int:
    """The last position that both sides surely share: everything behind it is journaled again after a fork (R3)."""
    if server.safe_seq == local.safe_seq and server.safe_head == local.safe_head:
        return max(local.safe_seq, local.first - 1)
    return local.first - 1


def confirms(local_head_at_acked: bytes | None, acked_head: bytes) -> bool:
    """Whether an acknowledgement speaks of our chain: its head is the one that the station holds at that seq."""
    return local_head_at_acked is not None and local_head_at_acked == acked_head


def purge_to(local: LocalEpoch, local_head_at_safe: bytes | None, keep_after_seq: int) -> int:
    """The seq up to which this epoch's documents may be deleted (0 for none).

    R6: only a prefix whose head equals the centre's (safe_seq, safe_head), and never what is younger than the
    retention (*keep_after_seq* is the last seq that is old enough). The current epoch's head row always stays.
    """
    if local.safe_seq < local.first or local_head_at_safe != local.safe_head:
        return 0
    limit = min(local.safe_seq, keep_after_seq)
    return limit if limit >= local.first else 0
