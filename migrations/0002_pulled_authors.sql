-- Authors whose tweets readers merge from the author's own list, instead of finding them pushed to
-- theirs. Once pulled, always pulled.
ALTER TABLE users ADD COLUMN pulled boolean NOT NULL DEFAULT false;
CREATE INDEX users_pulled_idx ON users (id) WHERE pulled;
