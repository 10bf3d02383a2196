-- Endpoints that are not sent to, and endpoints that are sent to in order.

ALTER TABLE endpoints ADD COLUMN disabled_at INTEGER;
ALTER TABLE endpoints ADD COLUMN disabled_cause TEXT CHECK ((disabled_cause IS NULL) = (disabled_at IS NULL));
ALTER TABLE endpoints ADD COLUMN is_ordered INTEGER NOT NULL DEFAULT 0 CHECK (is_ordered IN (0, 1));

-- The payload's number where the endpoint is ordered: its turn.
ALTER TABLE deliveries ADD COLUMN turn INTEGER;
CREATE INDEX deliveries_in_order ON deliveries (endpoint, turn) WHERE state = 'pending' AND turn IS NOT NULL;

-- Which deliveries were replayed.
CREATE INDEX deliveries_replays ON deliveries (replay_of) WHERE replay_of IS NOT NULL;
