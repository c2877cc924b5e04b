-- Reads the whole outbox while others write to it, so that 0011 need not.
ALTER TABLE outbox VALIDATE CONSTRAINT outbox_slot_check;
