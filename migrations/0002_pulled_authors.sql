-- Pulled authors have so many followers that their tweets are not pushed to the followers'
-- timelines. Instead, a follower's timeline is merged with the author's list when it is read. A
-- pulled author stays one for good.
ALTER TABLE users ADD COLUMN pulled boolean NOT NULL DEFAULT false;
CREATE INDEX users_pulled_idx ON users (id) WHERE pulled;
