"""Turn a run of journaled documents into one push: envelope, signature, the exact bytes, packed for the wire.

Pure but for the compression it calls: rows come in, a `Batch` goes out. A document whose bytes no longer fit the
hashes that the chain was built with travels as damaged: its recorded hashes beside it, its raw bytes armoured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_agent.db.positions import Stored
from shared.journal import BATCH_MAX_BYTES, signed_message
from shared.protocol import framing, wire

BATCH_RAW_BYTES = 6 << 20
"""Documents of one push before compression; a 1 MiB document fits whatever its content."""

Parent = tuple[bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class Batch:
    """A push that is ready to be sent."""

    epoch: bytes
    first_seq: int
    last_seq: int
    last_head: bytes
    packed: tuple[bytes, Mapping[str, str]]

    @property
    def count(self) -> int:
        return self.last_seq - self.first_seq + 1

    @property
    def too_large(self) -> bool:
        """Above what a server takes; one document alone always fits."""
        return len(self.packed[0]) > BATCH_MAX_BYTES and self.count > 1


def seal_batch(
    station: str,
    epoch: bytes,
    first_seq: int,
    prev_head: bytes,
    documents: Sequence[Stored],
    parent: Parent | None,
    sign: Callable[[bytes], bytes],
) -> Batch:
    """Make the push of *documents*, which stand at *first_seq* and after.

    Args:
        prev_head: the head before the first of them.
        parent: the (epoch, seq, head) that this epoch followed, where it is known.
        sign: Ed25519 with the station's key.
    """
    last_seq = first_seq + len(documents) - 1
    last_head = documents[-1].head
    damaged: dict[str, tuple[str, str]] = {}
    lines: list[bytes] = []
    for seq, document in enumerate(documents, first_seq):
        if document.damaged:
            damaged[str(seq)] = (document.header_hash.hex(), document.payload_hash.hex())
            lines += (framing.armour(document.header), framing.armour(document.payload))
        else:
            lines += (document.header, document.payload)
    envelope = {
        "epoch": epoch.hex(),
        "first_seq": first_seq,
        "prev_head": prev_head.hex(),
        "count": len(documents),
        "last_head": last_head.hex(),
        "signature": sign(signed_message(station, epoch, last_seq, last_head)).hex(),
        "parent": (parent[0].hex(), parent[1], parent[2].hex()) if parent else None,
        "damaged": damaged,
    }
    return Batch(epoch, first_seq, last_seq, last_head, wire.pack(framing.join(envelope, lines)))
