-- What ends access tokens before they expire, who may take which username, and how old a sign-in is.

-- Access tokens contain the epoch of their user. A later epoch ends those that were signed before:
-- a new password or e-mail address sets it. Epochs are microseconds since 1970, so that a user whose
-- id was given out before, in a database that was then restored from an older copy, has a later epoch
-- than the lost user. Tokens signed before this migration have no epoch, which counts as 0.
ALTER TABLE users ADD COLUMN token_epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE users ALTER COLUMN token_epoch
    SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- The access tokens that ended within the last minutes. Every service reads the whole table once a
-- second. Rows are deleted once no token that they are about can still be valid.
CREATE TABLE ended_tokens (
    user_id  bigint NOT NULL,
    -- The session whose access tokens ended, as in their claim sid; empty if they are not of one
    -- session. Then those with an epoch before this one ended.
    session  text NOT NULL DEFAULT '',
    epoch    bigint NOT NULL DEFAULT 0,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, session)
);
CREATE INDEX ended_tokens_ended_idx ON ended_tokens (ended_at);

-- Sessions that exist already count as old, because the time when they began was not stored.
ALTER TABLE sessions ADD COLUMN signed_in_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00Z';
ALTER TABLE sessions ALTER COLUMN signed_in_at SET DEFAULT now();

-- Usernames that a rename or a deletion freed within the last 30 days. Only their former user may take
-- them. Only a hash is kept, because a deleted user's name must not be.
CREATE TABLE freed_usernames (
    username_sha256 bytea PRIMARY KEY,
    -- Null if the user was deleted.
    user_id         bigint,
    freed_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX freed_usernames_freed_idx ON freed_usernames (freed_at);
CREATE INDEX freed_usernames_user_id_idx ON freed_usernames (user_id, freed_at DESC)
    WHERE user_id IS NOT NULL;

-- The hash in freed_usernames: of the name in lower case, as in users_username_key.
CREATE FUNCTION username_sha256(username text) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(lower(username COLLATE "C"), 'UTF8'))
$$;

-- As for usernames: the case of an address must not depend on the locale of the server. In a Turkish
-- one, INFO@example.com and info@example.com were two addresses.
CREATE UNIQUE INDEX users_email_c_key ON users (lower(email COLLATE "C"));
DROP INDEX users_email_key;
ALTER INDEX users_email_c_key RENAME TO users_email_key;
