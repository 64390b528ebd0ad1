"""The only SQL on the station: journal.db, which is precious, and catalog.db, which is fetched again."""

import shared.sqlite  # noqa: F401  before any module here says `import sqlite3`: it decides which SQLite that is
