-- name: remove_timeouts
SELECT set_config('statement_timeout', '0', false),
    set_config('idle_in_transaction_session_timeout', '0', false)

-- name: valid_history
SELECT valid_history()

-- name: begin_history
SELECT begin_history(forced => %(forced)s)

-- name: lock_migrations
SELECT pg_advisory_lock(%(lock)s)

-- name: create_schema_migrations
CREATE TABLE IF NOT EXISTS schema_migrations
    (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())

-- name: note_migration
INSERT INTO schema_migrations (name) VALUES (%(name)s)

-- name: count_rows
SELECT (SELECT count(*) FROM users WHERE deleted_at IS NULL) AS users,
    (SELECT count(*) FROM users WHERE deleted_at IS NOT NULL) AS "users being erased",
    (SELECT count(*) FROM tweets) AS tweets,
    (SELECT count(*) FROM follows) AS follows

-- name: outbox_backlog
SELECT count(*) AS events,
    coalesce(extract(epoch FROM now() - min(created_at)), 0)::float AS oldest_seconds
FROM outbox WHERE sent_at IS NULL

-- name: history_state
SELECT coalesce(history, '') AS history,
    valid_history() IS NOT NULL AS is_valid,
    extract(epoch FROM clock_timestamp() - seen_at)::float AS heartbeat_seconds,
    (SELECT count(*) FROM ended_histories) AS ended
FROM relay_state

-- name: next_epoch
UPDATE relay_state SET epoch = epoch + 1

-- name: resend_events
UPDATE outbox SET sent_at = NULL, first_sent_at = sent_at
WHERE sent_at > now() - %(hours)s * interval '1 hour'

-- name: set_administrator
UPDATE users SET admin = %(admin)s
WHERE lower(username COLLATE "C") = lower(%(username)s::text COLLATE "C") AND deleted_at IS NULL

-- name: readers
SELECT DISTINCT follower_id FROM follows JOIN users ON users.id = follower_id
WHERE deleted_at IS NULL ORDER BY 1

-- name: create_incoming
CREATE TEMPORARY TABLE incoming (follower text, followed text) ON COMMIT DROP

-- name: copy_incoming
COPY incoming FROM STDIN

-- name: insert_users
INSERT INTO users (username)
SELECT follower FROM incoming UNION SELECT followed FROM incoming ORDER BY 1
ON CONFLICT DO NOTHING

-- name: lock_imported_users
-- As FollowUser does: locked before the follows are inserted, in the order of their ids, so that
-- none of them is deleted meanwhile. Only accounts without an e-mail and a password: any other
-- belongs to somebody.
CREATE TEMPORARY TABLE imported ON COMMIT DROP AS
SELECT id, username FROM users
WHERE username IN (SELECT follower FROM incoming UNION SELECT followed FROM incoming)
    AND email IS NULL AND password_hash IS NULL AND deleted_at IS NULL
ORDER BY id FOR KEY SHARE

-- name: follows_of_owned_accounts
SELECT follower, followed FROM incoming
WHERE follower NOT IN (SELECT username FROM imported)
    OR followed NOT IN (SELECT username FROM imported)

-- name: insert_follows
INSERT INTO follows (follower_id, followed_id)
SELECT a.id, b.id FROM incoming
JOIN imported a ON a.username = follower JOIN imported b ON b.username = followed
ON CONFLICT DO NOTHING RETURNING follower_id, followed_id

-- name: insert_authors
INSERT INTO users (username) SELECT unnest(%(usernames)s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING

-- name: imported_user_ids
SELECT username, id FROM users
WHERE username = ANY(%(usernames)s)
    AND email IS NULL AND password_hash IS NULL AND deleted_at IS NULL

-- name: server_identity
SELECT pg_postmaster_start_time(), inet_server_port()

-- name: is_in_recovery
SELECT pg_is_in_recovery()

-- name: system_identifier
SELECT system_identifier FROM pg_control_system()

-- name: current_lsn
SELECT pg_current_wal_lsn()::text

-- name: has_replayed
SELECT pg_last_wal_replay_lsn() >= %(lsn)s::pg_lsn

-- name: replayed
SELECT pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()

-- name: distance_behind
-- Asked of the primary: the time of the commit is by its clock.
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %(lsn)s::pg_lsn)::bigint,
    extract(epoch FROM clock_timestamp() - %(committed_at)s::timestamptz)::float

-- name: is_streaming
-- The status is hidden from users without pg_read_all_stats; the row is not.
SELECT count(*) > 0 FROM pg_stat_wal_receiver WHERE coalesce(status, '') IN ('', 'streaming')

-- name: next_needed_lsn
SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text

-- name: is_wal_removed
-- File names are compared without their first eight letters, the WAL's timeline, which a promotion
-- changes.
SELECT count(*) = 0 FROM pg_ls_waldir()
WHERE substr(name, 9) = substr(pg_walfile_name(%(lsn)s::pg_lsn), 9)
