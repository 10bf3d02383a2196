-- Deliveries that are held or dropped know which plugin failed on them, and how.

ALTER TABLE deliveries ADD COLUMN plugin TEXT;
ALTER TABLE deliveries ADD COLUMN failure TEXT CHECK ((failure IS NULL) = (plugin IS NULL));

-- Ends with the number, as every index does: the order in which they are listed.
CREATE INDEX deliveries_of_plugin ON deliveries (plugin) WHERE plugin IS NOT NULL;

-- What goes on when a quarantine is over, the oldest first.
CREATE INDEX deliveries_in_quarantine ON deliveries (endpoint, plugin)
    WHERE state = 'held' AND failure = 'quarantined';
