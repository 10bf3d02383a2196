-- Inputs and outputs of runs that were modified long ago go to the object store.

-- Whether nothing in the layers is left to be moved. Whoever writes a run says so where its layers are small.
ALTER TABLE runs ADD COLUMN is_offloaded INTEGER NOT NULL DEFAULT 0 CHECK (is_offloaded IN (0, 1));

-- Ends with the number, as every index does: the order in which they are looked for.
CREATE INDEX runs_to_offload ON runs (modified_at) WHERE is_offloaded = 0;
