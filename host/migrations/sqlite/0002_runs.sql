-- Runs, what is said about them, and how far each rule has looked.

-- One row: all that this store holds is one workspace, LangSmith's tenant.
CREATE TABLE workspace (
    id BLOB NOT NULL CHECK (length(id) = 16)
) STRICT;

CREATE TABLE projects (
    number     INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- One row: the place in the order of commits that was given last. Kept apart from the runs, so that no place is given
-- twice when the newest run is pruned.
CREATE TABLE commit_order (
    last INTEGER NOT NULL
) STRICT;
INSERT INTO commit_order VALUES (0);

-- A run as its two layers; the other columns are read of them, the patch first.
CREATE TABLE runs (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,               -- never given twice: matches refer to it
    id          BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    project     INTEGER          REFERENCES projects (number),   -- none until the run says
    trace       BLOB    NOT NULL CHECK (length(trace) = 16),
    is_root     INTEGER NOT NULL CHECK (is_root IN (0, 1)),
    is_complete INTEGER NOT NULL CHECK (is_complete IN (0, 1)),
    start_time  INTEGER NOT NULL,
    received_at INTEGER NOT NULL,                                -- when the first half of it came
    modified_at INTEGER NOT NULL,
    changed     INTEGER NOT NULL,                                -- place in the order of commits
    post        BLOB,
    patch       BLOB,
    CHECK (post IS NOT NULL OR patch IS NOT NULL),
    CHECK (is_complete = 0 OR project IS NOT NULL)
) STRICT;

CREATE INDEX runs_by_change ON runs (project, changed);
CREATE INDEX runs_by_trace ON runs (trace);
CREATE INDEX runs_roots ON runs (trace) WHERE is_root = 1;
CREATE INDEX runs_by_start ON runs (project, start_time);
CREATE INDEX runs_by_start_of_all ON runs (start_time);
CREATE INDEX runs_by_age ON runs (received_at);

-- Files that came with a run, which may come before it.
CREATE TABLE attachments (
    run        BLOB    NOT NULL CHECK (length(run) = 16),
    name       TEXT    NOT NULL,
    blob       TEXT    NOT NULL,                                 -- its key in the object store
    media_type TEXT    NOT NULL,
    stored_at  INTEGER NOT NULL,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX attachments_by_age ON attachments (stored_at);

CREATE TABLE feedback (
    number    INTEGER PRIMARY KEY,
    id        BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    run       BLOB             CHECK (length(run) = 16),
    key       TEXT    NOT NULL,
    stored_at INTEGER NOT NULL,
    document  BLOB    NOT NULL
) STRICT;

CREATE INDEX feedback_by_run ON feedback (run) WHERE run IS NOT NULL;
CREATE INDEX feedback_by_age ON feedback (stored_at);

-- How far a rule has looked. Numbers are never given twice: matches of a rule that is gone must not become another's.
CREATE TABLE cursors (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    rule          BLOB    NOT NULL UNIQUE CHECK (length(rule) = 16),
    project       INTEGER NOT NULL REFERENCES projects (number),
    looked_at     INTEGER NOT NULL,                              -- runs.changed up to here are done
    window_start  INTEGER NOT NULL,
    -- The window that is being worked on, once a part of it is stored.
    window_end    INTEGER,
    head          INTEGER,
    parts         INTEGER NOT NULL DEFAULT 0,
    -- The rule looks for no runs at the moment; its matches stay.
    is_parked     INTEGER NOT NULL DEFAULT 0 CHECK (is_parked IN (0, 1)),
    -- Runs that changed last before the rule was made count only from this start time on.
    backfill_from INTEGER,
    backfill_head INTEGER,
    CHECK ((window_end IS NULL) = (head IS NULL)),
    CHECK (window_end IS NULL OR window_end > window_start),
    CHECK ((backfill_from IS NULL) = (backfill_head IS NULL))
) STRICT;

-- What makes a run part of one payload per rule, for as long as the run is there: also when the payload is pruned.
CREATE TABLE matches (
    cursor  INTEGER NOT NULL REFERENCES cursors (number),
    run     INTEGER NOT NULL REFERENCES runs (number),
    payload INTEGER          REFERENCES payloads (number),
    PRIMARY KEY (cursor, run)
) STRICT, WITHOUT ROWID;

CREATE INDEX matches_by_payload ON matches (payload) WHERE payload IS NOT NULL;
CREATE INDEX matches_by_run ON matches (run);

-- The window of a payload that was built from runs; none of a relayed one.
ALTER TABLE payloads ADD COLUMN window_start INTEGER;
ALTER TABLE payloads ADD COLUMN window_end INTEGER;
ALTER TABLE payloads ADD COLUMN part INTEGER;
CREATE INDEX payloads_built ON payloads (rule, number) WHERE part IS NOT NULL;
CREATE UNIQUE INDEX payloads_by_window ON payloads (rule, window_start, part) WHERE part IS NOT NULL;

-- What retention asks: how old, and what still names a segment or an endpoint.
CREATE INDEX payloads_by_age ON payloads (accepted_at);
CREATE INDEX payloads_by_segment ON payloads (segment);
CREATE INDEX deliveries_by_segment ON deliveries (segment) WHERE segment IS NOT NULL;
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint);
