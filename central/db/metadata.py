"""What all tables of the centre stand in, whichever module describes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData()

# SQLite only numbers rows by itself for INTEGER; PostgreSQL needs 64 bits.
Big = BigInteger().with_variant(Integer(), "sqlite")
WITHOUT_ROWID: dict[str, Any] = {"sqlite_with_rowid": False}
