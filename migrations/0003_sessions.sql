-- Sessions of users who are signed in. A session has one valid refresh token at a time, of which
-- only the hash is stored.
CREATE TABLE sessions (
    id            uuid PRIMARY KEY,
    user_id       bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_sha256 bytea NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
-- Whether the user is an administrator, as set by `fanfare admin`. The access rules in the protos
-- say what administrators may do.
ALTER TABLE users ADD COLUMN admin boolean NOT NULL DEFAULT false;
