"""How alembic runs here: on the connection and in the transaction that `central.db.schema` gives it."""

from __future__ import annotations

from alembic import context

from central.db.metadata import metadata


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
    )
    context.run_migrations()


run()
