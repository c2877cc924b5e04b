-- Who is signed in. A session has one refresh token at a time, of which only the hash is kept.
CREATE TABLE sessions (
    id            uuid PRIMARY KEY,
    user_id       bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_sha256 bytea NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
-- Administrators may do what the contract's access rules say; `fanfare admin` makes them.
ALTER TABLE users ADD COLUMN admin boolean NOT NULL DEFAULT false;
