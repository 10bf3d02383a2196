-- Keys of the API beside the one in the file `api-key`. Of a key only a hash is kept; its secret is 256 random bits,
-- which nobody finds by guessing, so the hash need not be slow.

CREATE TABLE api_keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    hash         BLOB    NOT NULL CHECK (length(hash) = 32),
    scopes       TEXT    NOT NULL,              -- words with a space between
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER                        -- the start of the day
) STRICT, WITHOUT ROWID;
