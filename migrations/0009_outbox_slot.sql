-- The outbox becomes a table of four partitions, in three files: no file both reads the whole table and
-- keeps others from writing to it. The column says which partition a row is in. All rows of this table will
-- be in the first one. The next file validates the constraint.
ALTER TABLE outbox
    -- squawk-ignore prefer-bigint-over-smallint -- from 0 to 3
    ADD COLUMN slot smallint NOT NULL DEFAULT 0,
    ADD CONSTRAINT outbox_slot_check CHECK (slot = 0) NOT VALID;
