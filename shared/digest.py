"""The digest of a scope: count and sum over its live rows, kept in step for O(1) per change.

Two sets of rows are equal when count and sum are equal (up to a 2^-128 chance): addition does not care for order,
so station and centre agree whatever way the rows came.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_MODULUS = 1 << 128
_sha256 = hashlib.sha256
_from_bytes = int.from_bytes


def row_hash(entity: str, key: str, version: bytes) -> int:
    """128 bits of one live row: the first 16 bytes of SHA-256 over length-prefixed entity, key and the version."""
    e, k = entity.encode(), key.encode()
    return _from_bytes(
        _sha256(len(e).to_bytes(4, "big") + e + len(k).to_bytes(4, "big") + k + version).digest()[:16], "big"
    )


@dataclass(frozen=True, slots=True)
class Digest:
    """Count and sum of a set of rows."""

    count: int = 0
    total: int = 0

    def add(self, row: int) -> Digest:
        return Digest(self.count + 1, (self.total + row) % _MODULUS)

    def remove(self, row: int) -> Digest:
        return Digest(self.count - 1, (self.total - row) % _MODULUS)

    def shift(self, count: int, total: int) -> Digest:
        """Apply the difference of many changes at once; *total* may be negative or above the modulus."""
        return Digest(self.count + count, (self.total + total) % _MODULUS)

    @property
    def hex(self) -> str:
        return f"{self.total:032x}"

    @staticmethod
    def of(count: int, hex_total: str) -> Digest:
        return Digest(count, int(hex_total, 16))
