-- The snapshot file: one scope at one seq, as an immutable SQLite database. Part of the wire protocol
-- (docs/protocol/snapshot.md): the centre builds it, any station of the scope copies it by ATTACH.
-- Rows lie in key order, so that the copy appends. The index tables hold what shared/catalog/index.py draws.
CREATE TABLE about (scope TEXT NOT NULL, gen TEXT NOT NULL, seq INTEGER NOT NULL, count INTEGER NOT NULL, digest TEXT NOT NULL);
CREATE TABLE rows (entity TEXT NOT NULL, key TEXT NOT NULL, version BLOB NOT NULL, payload BLOB NOT NULL);
CREATE TABLE products (key TEXT NOT NULL, code TEXT NOT NULL, name TEXT NOT NULL, measured TEXT);
CREATE TABLE barcodes (barcode TEXT NOT NULL, key TEXT NOT NULL, product TEXT NOT NULL, variant TEXT, pack TEXT);
CREATE TABLE prices (key TEXT NOT NULL, product TEXT NOT NULL, variant TEXT NOT NULL, pack TEXT NOT NULL,
                     price_list TEXT NOT NULL, valid_from INTEGER, valid_until INTEGER);
