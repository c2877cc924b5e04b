-- Signed-in users. A session has one valid refresh token at a time; only its hash is stored.
CREATE TABLE sessions (
    id            uuid PRIMARY KEY,
    user_id       bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_sha256 bytea NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
-- `fanfare admin` makes administrators. The access rules in the contract say what they may do.
ALTER TABLE users ADD COLUMN admin boolean NOT NULL DEFAULT false;
