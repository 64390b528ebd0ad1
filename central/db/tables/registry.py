"""Tables of who there is: stores, groups, stations with their keys, enrolment codes."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from central.db.metadata import Big, metadata

stores = Table(
    "stores",
    metadata,
    Column("store_no", Big, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("zone", Text, nullable=False),  # IANA
    Column("currency", Text, nullable=False),
    Column("price_list", Text),
)

groups = Table(
    "groups",
    metadata,
    Column("group_no", Big, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("price_list", Text),
)

stations = Table(
    "stations",
    metadata,
    Column("station_no", Big, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("store_no", ForeignKey("stores.store_no"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),  # new | waiting (for approval) | active | revoked | source
    Column("quarantined", Boolean, nullable=False),
    Column("newest_nonce_ms", BigInteger, nullable=False),
    Column("current_epoch", LargeBinary),
    Column("poke", Integer, nullable=False),  # HQ's "sync now" calls
    Column("last_number", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger),
    Column("report", LargeBinary),  # its last report, as sent
    Column("report_ms", BigInteger),
    Column("reached", LargeBinary),  # JSON: scope -> [gen, seq, since when it has reported just that]
    Column("created_ms", BigInteger, nullable=False),
)
SOURCE = "source"
"""State of a row that is no station but an outlet of a foreign system: it owns documents, and nobody signs in as it."""
OWN_STORE = "@"
"""Code of the row that stands in for a store where the centre's own desk needs one; no list of stores shows it."""

# Read by every node twice a second; the rows themselves are wide with reports.
Index("stations_poke", stations.c.station_no, stations.c.poke)

station_groups = Table(
    "station_groups",
    metadata,
    Column("station_no", ForeignKey("stations.station_no"), nullable=False),
    Column("group_no", ForeignKey("groups.group_no"), nullable=False),
    PrimaryKeyConstraint("station_no", "group_no"),
)

station_keys = Table(
    "station_keys",
    metadata,
    Column("station_no", ForeignKey("stations.station_no"), nullable=False),
    Column("public_key", LargeBinary, nullable=False, unique=True),
    Column("state", Text, nullable=False),  # active | retired | revoked
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("station_no", "public_key"),
)

enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("station_no", ForeignKey("stations.station_no")),  # one of the two
    Column("group_no", ForeignKey("groups.group_no")),
    Column("store_no", ForeignKey("stores.store_no")),  # where stations of a group code are put
    Column("replace", Boolean, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_by", LargeBinary),  # public key of the last use: same code and key, same answer
)
