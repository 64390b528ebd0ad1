-- catalog.db: disposable. It may be deleted at any time and is fetched again.
-- Generic rows carry every entity, also those that this agent does not know; the typed tables are for look-ups.
-- Rows of a `scope_no` that no scope bears any more are invisible leftovers and go in the background, so that a scope
-- of any size is replaced or dropped at once. Hence every look-up joins `scopes`, and numbers are never used again.
CREATE TABLE scopes (
    scope_no INTEGER PRIMARY KEY,
    scope    TEXT NOT NULL UNIQUE,
    gen      TEXT NOT NULL,
    rank     INTEGER NOT NULL,               -- the lowest wins
    seq      INTEGER NOT NULL,               -- cursor: every change up to it is applied
    count    INTEGER NOT NULL,
    digest   TEXT NOT NULL
);
-- A scope that is loaded whole gets its number here and stays invisible until all of it is there.
CREATE TABLE builds (
    scope_no INTEGER PRIMARY KEY AUTOINCREMENT,
    scope    TEXT NOT NULL UNIQUE,
    gen      TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    digest   TEXT NOT NULL
);
CREATE TABLE leftovers (scope_no INTEGER PRIMARY KEY);
CREATE TABLE rows (
    scope_no INTEGER NOT NULL,
    entity   TEXT NOT NULL,
    key      TEXT NOT NULL,
    version  BLOB NOT NULL,
    payload  BLOB NOT NULL,
    PRIMARY KEY (scope_no, entity, key)
) WITHOUT ROWID;

-- A product whose name changes gets a new number: the name index is by number and lags behind for a moment.
CREATE TABLE products (product_no INTEGER PRIMARY KEY AUTOINCREMENT, scope_no INTEGER NOT NULL, key TEXT NOT NULL,
                       code TEXT NOT NULL, name TEXT NOT NULL, measured TEXT, UNIQUE (scope_no, key));
CREATE INDEX products_measured ON products (measured) WHERE measured IS NOT NULL;
CREATE TABLE barcodes (barcode TEXT NOT NULL, scope_no INTEGER NOT NULL, key TEXT NOT NULL, product TEXT NOT NULL, variant TEXT, pack TEXT,
                       PRIMARY KEY (barcode, scope_no, key)) WITHOUT ROWID;
CREATE TABLE prices (product TEXT NOT NULL, scope_no INTEGER NOT NULL, key TEXT NOT NULL, variant TEXT NOT NULL, pack TEXT NOT NULL,
                     price_list TEXT NOT NULL, valid_from INTEGER, valid_until INTEGER,
                     PRIMARY KEY (product, scope_no, key)) WITHOUT ROWID;

-- Words of names, by product_no. Names up to `names_upto` are in it.
CREATE VIRTUAL TABLE names USING fts5(name, content='', contentless_delete=1, detail=none, tokenize="unicode61 remove_diacritics 2");
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), names_upto INTEGER NOT NULL);
INSERT INTO progress VALUES (1, 0);

-- Pages of changes that came before the last one: applied together, in one transaction, when it is there.
CREATE TABLE staged (
    scope TEXT NOT NULL,
    after INTEGER NOT NULL,                  -- the cursor that the page was asked with
    gen   TEXT NOT NULL,
    last  INTEGER NOT NULL,                  -- seq of its last row
    page  BLOB NOT NULL,                     -- its rows in a first line, then their payload lines
    PRIMARY KEY (scope, after)
);
