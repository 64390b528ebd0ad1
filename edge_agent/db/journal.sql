-- journal.db: precious. WAL, synchronous=FULL, one writer connection; backed up, never purged before it is safe.
-- Positions (journal) and documents are two tables: after a fork one document stands at two positions.
-- A sale costs one row in each, and nothing else: last, head, number and day totals follow from them.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE epochs (
    epoch_no     INTEGER PRIMARY KEY,
    epoch        BLOB NOT NULL UNIQUE,
    parent       BLOB, parent_last INTEGER, parent_head BLOB,
    first        INTEGER NOT NULL DEFAULT 1,   -- lowest seq still kept
    prev_head    BLOB NOT NULL,                -- head before `first`
    number_base  INTEGER NOT NULL,             -- a document's counter is number_base + seq
    acked_seq    INTEGER NOT NULL DEFAULT 0,
    safe_seq     INTEGER NOT NULL DEFAULT 0,
    safe_head    BLOB NOT NULL,
    folded_after INTEGER,                      -- what follows was journaled again in a later epoch
    started_ms   INTEGER NOT NULL
);

-- The key and the hash of a request make its repetition harmless as long as the document is kept.
CREATE TABLE documents (
    doc_no          INTEGER PRIMARY KEY,
    doc_id          TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    request_hash    BLOB NOT NULL,
    epoch_no        INTEGER NOT NULL,          -- its first position: the one on the receipt
    seq             INTEGER NOT NULL,
    head            BLOB NOT NULL,             -- after it, there
    header          BLOB NOT NULL,
    payload         BLOB NOT NULL,
    header_hash     BLOB NOT NULL,
    payload_hash    BLOB NOT NULL,
    sealed_ms       INTEGER NOT NULL
);

CREATE TABLE journal (
    epoch_no INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    doc_no   INTEGER NOT NULL,
    head     BLOB NOT NULL,
    PRIMARY KEY (epoch_no, seq)
) WITHOUT ROWID;

-- No document without its position. One statement writes both, and so a sale alone is one statement: BEGIN, INSERT and
-- COMMIT of its own would each hand the processor over between the journal's thread and the event loop.
CREATE TRIGGER first_position AFTER INSERT ON documents BEGIN
    INSERT INTO journal (epoch_no, seq, doc_no, head) VALUES (new.epoch_no, new.seq, new.doc_no, new.head); END;

-- A projection, brought up to date when it is read; meta.totals_upto is the last doc_no in it.
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
    doc_id  TEXT NOT NULL,
    header  BLOB NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (epoch, seq)
) WITHOUT ROWID;
CREATE INDEX history_by_doc_id ON history (doc_id);

CREATE TABLE alarms (name TEXT PRIMARY KEY, text TEXT NOT NULL, since_ms INTEGER NOT NULL) WITHOUT ROWID;
