-- Datasets and their examples. JSON is kept as text in blobs, the large ones last, so that a look at the others is cheap.

CREATE TABLE datasets (
    number         INTEGER PRIMARY KEY,
    id             BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    name           TEXT    NOT NULL UNIQUE,
    description    TEXT,
    data_type      TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    modified_at    INTEGER NOT NULL,
    metadata       BLOB,
    inputs_schema  BLOB,
    outputs_schema BLOB
) STRICT;

CREATE TABLE examples (
    number      INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    dataset     INTEGER NOT NULL REFERENCES datasets (number),
    source_run  BLOB             CHECK (length(source_run) = 16),
    created_at  INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    splits      TEXT    NOT NULL,                                -- a JSON array of strings
    metadata    BLOB,
    inputs      BLOB    NOT NULL,
    outputs     BLOB
) STRICT;

-- The orders in which they are listed.
CREATE INDEX datasets_by_age ON datasets (created_at);
CREATE INDEX examples_by_dataset ON examples (dataset, created_at);
CREATE INDEX examples_by_age ON examples (created_at);
