-- catalog.db: disposable. It may be deleted at any time and is fetched again.
-- Generic rows carry every entity, also those that this agent does not know; the typed tables are for look-ups.
CREATE TABLE scopes (
    scope_no INTEGER PRIMARY KEY,
    scope    TEXT NOT NULL UNIQUE,
    gen      TEXT NOT NULL,
    rank     INTEGER NOT NULL,               -- the lowest wins
    seq      INTEGER NOT NULL,               -- cursor: every change up to it is applied
    count    INTEGER NOT NULL,
    digest   TEXT NOT NULL
);
CREATE TABLE rows (
    scope_no INTEGER NOT NULL,
    entity   TEXT NOT NULL,
    key      TEXT NOT NULL,
    version  BLOB NOT NULL,
    payload  BLOB NOT NULL,
    PRIMARY KEY (scope_no, entity, key)
) WITHOUT ROWID;
CREATE TABLE products (scope_no INTEGER NOT NULL, key TEXT NOT NULL, code TEXT NOT NULL, name TEXT NOT NULL, measured TEXT,
                       PRIMARY KEY (scope_no, key)) WITHOUT ROWID;
CREATE TABLE barcodes (barcode TEXT NOT NULL, scope_no INTEGER NOT NULL, key TEXT NOT NULL, product TEXT NOT NULL, variant TEXT, pack TEXT,
                       PRIMARY KEY (barcode, scope_no, key)) WITHOUT ROWID;
CREATE TABLE prices (product TEXT NOT NULL, scope_no INTEGER NOT NULL, key TEXT NOT NULL, variant TEXT NOT NULL, pack TEXT NOT NULL,
                     price_list TEXT NOT NULL, valid_from INTEGER, valid_until INTEGER,
                     PRIMARY KEY (product, scope_no, key)) WITHOUT ROWID;
