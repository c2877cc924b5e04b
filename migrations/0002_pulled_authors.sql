-- Pulled authors have so many followers that their tweets are not pushed to the followers'
-- timelines. Readers merge their timelines with the author's own list instead. Once pulled, always
-- pulled.
ALTER TABLE users ADD COLUMN pulled boolean NOT NULL DEFAULT false;
CREATE INDEX users_pulled_idx ON users (id) WHERE pulled;
