-- journal.db: precious. WAL, synchronous=FULL, one writer connection; backed up, never purged before it is safe.
-- Positions (journal) and documents are two tables: after a fork one document stands at two positions.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE epochs (
    epoch_no    INTEGER PRIMARY KEY,
    epoch       BLOB NOT NULL UNIQUE,
    parent      BLOB, parent_last INTEGER, parent_head BLOB,
    first       INTEGER NOT NULL DEFAULT 1,   -- lowest seq still kept
    prev_head   BLOB NOT NULL,                -- head before `first`
    last        INTEGER NOT NULL DEFAULT 0,
    head        BLOB NOT NULL,
    acked_seq   INTEGER NOT NULL DEFAULT 0,
    safe_seq    INTEGER NOT NULL DEFAULT 0,
    safe_head   BLOB NOT NULL,
    folded      INTEGER NOT NULL DEFAULT 0,
    started_ms  INTEGER NOT NULL
);

CREATE TABLE documents (
    doc_no       INTEGER PRIMARY KEY,
    doc_id       TEXT NOT NULL UNIQUE,
    header       BLOB NOT NULL,
    payload      BLOB NOT NULL,
    header_hash  BLOB NOT NULL,
    payload_hash BLOB NOT NULL,
    sealed_ms    INTEGER NOT NULL
);

CREATE TABLE journal (
    epoch_no INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    doc_no   INTEGER NOT NULL,
    head     BLOB NOT NULL,
    PRIMARY KEY (epoch_no, seq)
) WITHOUT ROWID;

-- The answer to a repeated Idempotency-Key is the first one, byte for byte.
CREATE TABLE idempotency (
    key          TEXT PRIMARY KEY,
    request_hash BLOB NOT NULL,
    answer       BLOB NOT NULL,
    at_ms        INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE day_totals (
    business_date TEXT NOT NULL,
    type          TEXT NOT NULL,
    currency      TEXT NOT NULL,
    count         INTEGER NOT NULL,
    amount_minor  INTEGER NOT NULL,
    PRIMARY KEY (business_date, type, currency)
) WITHOUT ROWID;

-- What a restored station read back from the centre (R7): for returns, and as a second copy. Never pushed.
CREATE TABLE history (
    epoch   BLOB NOT NULL,
    seq     INTEGER NOT NULL,
    header  BLOB NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (epoch, seq)
) WITHOUT ROWID;
