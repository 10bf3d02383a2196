-- Ids are 16-byte UUIDs; times are microseconds since 1970 in UTC. Rows refer to each other by `number`, which is small
-- and dense; ids are for the world outside.

CREATE TABLE rules (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    display_name TEXT    NOT NULL UNIQUE,
    definition   TEXT    NOT NULL,              -- JSON; every secret in it is sealed
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Endpoints outlive their webhooks, so that the deliveries of removed ones stay readable.
CREATE TABLE endpoints (
    number     INTEGER PRIMARY KEY,
    rule       BLOB    NOT NULL CHECK (length(rule) = 16),
    webhook    TEXT    NOT NULL,
    bucket     INTEGER NOT NULL CHECK (bucket BETWEEN 0 AND 255),
    is_removed INTEGER NOT NULL CHECK (is_removed IN (0, 1)),
    UNIQUE (rule, webhook)
) STRICT;

CREATE TABLE payloads (
    number      INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    rule        BLOB    NOT NULL CHECK (length(rule) = 16),
    accepted_at INTEGER NOT NULL,
    is_pending  INTEGER NOT NULL CHECK (is_pending IN (0, 1)),
    segment     INTEGER NOT NULL,
    offset      INTEGER NOT NULL,
    length      INTEGER NOT NULL,
    checksum    INTEGER NOT NULL
) STRICT;

CREATE INDEX payloads_pending ON payloads (number) WHERE is_pending = 1;

CREATE TABLE idempotency_keys (
    rule          BLOB    NOT NULL,
    key           TEXT    NOT NULL,
    payload       BLOB    NOT NULL,
    document_hash BLOB    NOT NULL,
    accepted_at   INTEGER NOT NULL,
    PRIMARY KEY (rule, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (accepted_at);

CREATE TABLE deliveries (
    number          INTEGER PRIMARY KEY,
    id              BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    payload         INTEGER NOT NULL REFERENCES payloads (number),
    endpoint        INTEGER NOT NULL REFERENCES endpoints (number),
    replay_of       BLOB             CHECK (length(replay_of) = 16),
    state           TEXT    NOT NULL CHECK (state IN
                        ('pending', 'held', 'delivered', 'failed', 'filtered', 'dropped', 'cancelled')),
    cause           TEXT,
    created_at      INTEGER NOT NULL,
    -- The queue: due = pending, next_attempt_at <= now, no live lease.
    next_attempt_at INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    uncounted       INTEGER NOT NULL DEFAULT 0 CHECK (uncounted BETWEEN 0 AND attempts),
    -- The lease, and the attempt that it is for; its number is `attempts`.
    fence           INTEGER NOT NULL DEFAULT 0,
    owner           BLOB             CHECK (length(owner) = 16),
    claimed_at      INTEGER,
    lease_until     INTEGER,
    -- The body.
    segment         INTEGER,
    offset          INTEGER,
    length          INTEGER,
    checksum        INTEGER,
    content_type    TEXT,
    headers         TEXT,                       -- JSON array of pairs
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK (state = 'pending' OR lease_until IS NULL),
    CHECK ((owner IS NULL) = (lease_until IS NULL) AND (owner IS NULL) = (claimed_at IS NULL)),
    CHECK ((segment IS NULL) = (length IS NULL) AND (segment IS NULL) = (content_type IS NULL)),
    CHECK (state NOT IN ('pending', 'delivered', 'failed') OR segment IS NOT NULL),
    CHECK (state NOT IN ('held', 'filtered', 'dropped') OR segment IS NULL)
) STRICT;

-- One delivery per payload and webhook, replays aside: what makes a repeated fan-out harmless.
CREATE UNIQUE INDEX deliveries_once ON deliveries (payload, endpoint, iif(replay_of IS NULL, x'', id));
CREATE INDEX deliveries_due ON deliveries (endpoint, next_attempt_at) WHERE state = 'pending' AND lease_until IS NULL;
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX deliveries_held ON deliveries (endpoint) WHERE state = 'held';

CREATE TABLE attempts (
    delivery    INTEGER NOT NULL REFERENCES deliveries (number),
    number      INTEGER NOT NULL CHECK (number >= 1),
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER,
    outcome     TEXT    NOT NULL,
    status      INTEGER CHECK (status BETWEEN 100 AND 999),
    error       TEXT,
    address     TEXT,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
