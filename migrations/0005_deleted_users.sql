-- When DeleteUser was called for a user whose tweets and follows are not all erased yet. For readers
-- and commands such a user does not exist. The row is deleted with the last of them.
ALTER TABLE users ADD COLUMN deleted_at timestamptz;
CREATE INDEX users_deleted_idx ON users (id) WHERE deleted_at IS NOT NULL;
