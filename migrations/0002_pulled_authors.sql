-- Pull authors: their tweets are not pushed to the followers' timelines. Readers merge them from the
-- author's own list. A pull author remains one.
ALTER TABLE users ADD COLUMN pulled boolean NOT NULL DEFAULT false;
CREATE INDEX users_pulled_idx ON users (id) WHERE pulled;
