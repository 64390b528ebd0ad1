"""The centre's tables, for SQLite and PostgreSQL alike, by topic. Keys are small integers (ADR 2)."""
