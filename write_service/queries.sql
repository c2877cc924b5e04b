-- name: insert_user
INSERT INTO users (username, email, password_hash, bio)
VALUES (%(username)s, %(email)s, %(password_hash)s, %(bio)s)
RETURNING id, username, bio, created_at, updated_at

-- name: update_user
UPDATE users
SET username      = coalesce(%(username)s, username),
    email         = coalesce(%(email)s, email),
    password_hash = coalesce(%(password_hash)s, password_hash),
    bio           = coalesce(%(bio)s, bio),
    updated_at    = clock_timestamp()
WHERE id = %(user_id)s
RETURNING id, username, bio, created_at, updated_at

-- name: allow_long_statements
-- A timer of the transaction that runs already can only be switched off, not set to more.
-- Which is not there before Postgres 17.
SELECT set_config(name, CASE name WHEN 'transaction_timeout' THEN '0' ELSE '120s' END, true)
FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')

-- name: lock_user_for_deletion
SELECT id FROM users WHERE id = %(user_id)s FOR UPDATE

-- name: delete_tweets_of_user
DELETE FROM tweets WHERE user_id = %(user_id)s RETURNING id

-- name: delete_follows_of_user
-- Locked in one order first, so that two users who follow each other can be deleted at once.
WITH doomed AS (
    SELECT follower_id, followed_id FROM follows
    WHERE follower_id = %(user_id)s OR followed_id = %(user_id)s
    ORDER BY follower_id, followed_id
    FOR UPDATE
)
DELETE FROM follows USING doomed
WHERE follows.follower_id = doomed.follower_id AND follows.followed_id = doomed.followed_id
RETURNING follows.follower_id, follows.followed_id

-- name: delete_user
DELETE FROM users WHERE id = %(user_id)s

-- name: lock_users
-- KEY SHARE keeps the users from being deleted until this transaction ends, and no more.
SELECT id FROM users WHERE id = ANY(%(user_ids)s) ORDER BY id FOR KEY SHARE

-- name: lock_authors
-- Locked as above; with whether each is pulled already, and how many followers they have. Counting
-- stops above the threshold (0: never pulled). Null for those who are pulled, and for those whose
-- margin and the follows drawn are together not above it: they cannot have that many. What is
-- committed meanwhile may be missed: then a later tweet of the author sees it.
-- And new tweet ids, with one time for all that is not before that in any of them.
WITH locked AS MATERIALIZED (
    SELECT users.id, pulled, CASE
        WHEN pulled OR %(pull_followers)s = 0 THEN NULL
        WHEN margin + (SELECT last_value FROM follows_seq_seq) <= %(pull_followers)s THEN NULL
        ELSE (
            SELECT count(*) FROM (
                SELECT FROM follows WHERE followed_id = users.id LIMIT %(pull_followers)s + 1
            ) AS counted
        )
    END AS followers
    FROM users
    JOIN unnest(%(user_ids)b::bigint[], %(margins)b::bigint[]) AS asked (id, margin) USING (id)
    ORDER BY users.id FOR KEY SHARE OF users
),
drawn AS MATERIALIZED (
    SELECT next_tweet_id() AS id FROM generate_series(1, %(count)s)
)
SELECT
    (SELECT array_agg(id) FROM locked),
    (SELECT array_agg(pulled) FROM locked),
    (SELECT array_agg(followers) FROM locked),
    (SELECT array_agg(id ORDER BY id) FROM drawn),
    clock_timestamp()

-- name: pull_authors
-- Locked in order first, so that two transactions that find the same authors never wait in a ring.
UPDATE users SET pulled = true
WHERE id IN (SELECT id FROM users WHERE id = ANY(%(user_ids)s) ORDER BY id FOR NO KEY UPDATE)
    AND NOT pulled

-- name: claim_requests
-- Waits for a transaction under way that claims the same; sorted, so that two never wait in a ring.
INSERT INTO tweet_requests (user_id, request_id, content_sha256, tweet_id, created_at)
SELECT claims.*, %(time)s::timestamptz FROM unnest(
    %(user_ids)b::bigint[], %(request_ids)b::uuid[], %(digests)b::bytea[], %(tweet_ids)b::bigint[]
) AS claims (user_id, request_id, content_sha256, tweet_id)
ORDER BY user_id, request_id
ON CONFLICT DO NOTHING
RETURNING tweet_id

-- name: earlier_requests
SELECT user_id, request_id, content_sha256, tweet_id, created_at
FROM tweet_requests
JOIN unnest(%(user_ids)b::bigint[], %(request_ids)b::uuid[]) AS asked (user_id, request_id)
USING (user_id, request_id)

-- name: insert_tweets
-- With their events, in order, in a history that is valid: else ids would repeat those of a lost one.
-- Their authors are locked by an earlier statement, and nobody else
-- knows the tweets yet: outbox ids drawn here are in commit order for each user.
WITH rows AS (
    SELECT * FROM unnest(
        %(ids)b::bigint[], %(user_ids)b::bigint[], %(contents)b::text[], %(payloads)b::bytea[]
    ) WITH ORDINALITY AS rows (id, user_id, content, payload, position)
), inserted AS (
    INSERT INTO tweets (id, user_id, content, created_at, updated_at)
    SELECT id, user_id, content, %(time)s::timestamptz, %(time)s::timestamptz FROM rows
)
INSERT INTO outbox (key, type, payload)
SELECT user_id, %(type)s, payload FROM begin_history(forced => false), rows ORDER BY position

-- name: update_tweet
UPDATE tweets
SET content = %(content)s, version = version + 1, updated_at = clock_timestamp()
WHERE id = %(tweet_id)s
RETURNING id, user_id, content, created_at, updated_at, version

-- name: delete_tweet
DELETE FROM tweets WHERE id = %(tweet_id)s RETURNING user_id

-- name: expire_request
UPDATE tweet_requests SET tweet_deleted_at = now() WHERE tweet_id = %(tweet_id)s

-- name: insert_follow
INSERT INTO follows (follower_id, followed_id) VALUES (%(follower_id)s, %(followed_id)s)
ON CONFLICT DO NOTHING

-- name: delete_follow
DELETE FROM follows WHERE follower_id = %(follower_id)s AND followed_id = %(followed_id)s

-- name: insert_events
-- A statement of its own, after those that lock the rows: ids drawn here are in commit order for
-- each tweet, follow edge and user. In a history that is valid: else ids would repeat those of a lost
-- one.
INSERT INTO outbox (key, type, payload)
SELECT key, type, payload
FROM begin_history(forced => false), unnest(%(keys)b::bigint[], %(types)b::text[], %(payloads)b::bytea[])
     WITH ORDINALITY AS events (key, type, payload, position)
ORDER BY position

-- name: committed
-- The position of what has been committed; and the relay is woken. Not within the transaction:
-- commits that notify wait for one another, the disk included. Should this never run, because its
-- process was killed, the relay looks by itself within a second.
-- And how many numbers follows have drawn so far, for the counts of followers that come after; less
-- one, for a new sequence says 1 before it is used.
SELECT
    (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint,
    valid_history(), -- null: begin_history() has not been called on this server yet
    (SELECT last_value - 1 FROM follows_seq_seq),
    pg_notify('fanfare_outbox', '')

-- name: end_silent_relay
-- Not idle_session_timeout: it does not run after a pipeline, which psycopg ends with a Flush.
SELECT pid, pg_terminate_backend(pid)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = 0 AND objid = %(lock)s AND granted
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND state_change < clock_timestamp() - %(seconds)s * interval '1 second'

-- name: begin_history
SELECT begin_history(forced => %(forced)s)

-- name: next_epoch
UPDATE relay_state SET epoch = epoch + 1 RETURNING epoch, history

-- name: heartbeat
-- Returns whether the relay is still the newest: false if another one took over, or its history has
-- ended, and null if the database is older than this relay, which took a later epoch.
WITH newest AS MATERIALIZED (
    SELECT epoch, history = %(history)s AND server = server_identity() AS is_at_history
    FROM relay_state FOR UPDATE
),
noted AS (
    UPDATE relay_state
    SET lsn = (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint, seen_at = clock_timestamp()
    FROM newest WHERE newest.epoch = %(epoch)s AND is_at_history
)
SELECT CASE WHEN epoch >= %(epoch)s THEN epoch = %(epoch)s AND is_at_history END FROM newest

-- name: unsent_events
SELECT id, key, type, payload, created_at FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT %(limit)s

-- name: wal_position
SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint

-- name: mark_sent
-- A relay that takes the next epoch waits for the marking, or the marking sees its epoch. The history
-- too must be the relay's, and valid: epochs repeat after older rows were put back.
-- Notes the batch's LSN too: it is of this history, and a replica that has the row has the commits.
-- Returns a row if the relay is the newest, also when there is nothing to mark.
WITH newest AS MATERIALIZED (
    SELECT FROM relay_state
    WHERE epoch = %(epoch)s AND history = %(history)s AND server = server_identity()
    FOR UPDATE
),
noted AS (
    UPDATE relay_state SET lsn = %(lsn)s, seen_at = clock_timestamp() FROM newest
),
marked AS (
    UPDATE outbox SET sent_at = now()
    FROM newest
    WHERE id = ANY(%(ids)b::bigint[])
)
SELECT true FROM newest

-- name: purge_sent
-- Deletes the oldest events that were sent long enough ago, and returns how many, and when the last
-- of them was sent. after: where the last call ended. Without it the index would be read from its
-- beginning each time, through the entries of all rows deleted since the last vacuum.
WITH expired AS MATERIALIZED (
    SELECT ctid AS place, sent_at FROM outbox
    WHERE sent_at >= coalesce(%(after)s, '-infinity'::timestamptz)
        AND sent_at < now() - %(seconds)s * interval '1 second'
    ORDER BY sent_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
purged AS (DELETE FROM outbox WHERE ctid = ANY(ARRAY(SELECT place FROM expired)))
SELECT count(*), max(sent_at) FROM expired

-- name: purge_requests
-- As purge_sent, for the request_ids of tweets that were deleted long enough ago.
WITH expired AS MATERIALIZED (
    SELECT ctid AS place, tweet_deleted_at FROM tweet_requests
    WHERE tweet_deleted_at >= coalesce(%(after)s, '-infinity'::timestamptz)
        AND tweet_deleted_at < now() - %(seconds)s * interval '1 second'
    ORDER BY tweet_deleted_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
purged AS (DELETE FROM tweet_requests WHERE ctid = ANY(ARRAY(SELECT place FROM expired)))
SELECT count(*), max(tweet_deleted_at) FROM expired

-- name: tweet_author
SELECT user_id FROM tweets WHERE id = %(tweet_id)s

-- name: is_admin
SELECT admin FROM users WHERE id = %(user_id)s

-- name: credentials
SELECT id, password_hash, admin FROM users
WHERE lower(username COLLATE "C") = lower(%(username)s::text COLLATE "C")

-- name: replace_password_hash
-- Unless the password was changed meanwhile.
UPDATE users SET password_hash = %(new)s WHERE id = %(user_id)s AND password_hash = %(old)s

-- name: insert_session
-- KEY SHARE by the foreign key: no session outlives its user.
INSERT INTO sessions (id, user_id, secret_sha256, expires_at)
SELECT %(id)s, id, %(sha256)s, now() + %(seconds)s * interval '1 second'
FROM users WHERE id = %(user_id)s AND password_hash = %(password_hash)s
FOR SHARE
RETURNING expires_at

-- name: purge_sessions_of_user
-- What has expired, and all but the newest: a session more is a row for whoever knows a password.
-- Two sign-ins at once would wait for each other's rows.
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions
    WHERE user_id = %(user_id)s AND (expires_at < now() OR id IN (
        SELECT id FROM sessions WHERE user_id = %(user_id)s ORDER BY expires_at DESC OFFSET %(kept)s
    ))
    FOR UPDATE SKIP LOCKED
)

-- name: lock_session
SELECT sessions.user_id, secret_sha256, users.admin
FROM sessions JOIN users ON users.id = sessions.user_id
WHERE sessions.id = %(id)s AND expires_at > now()
FOR UPDATE OF sessions

-- name: renew_session
UPDATE sessions SET secret_sha256 = %(sha256)s, expires_at = now() + %(seconds)s * interval '1 second'
WHERE id = %(id)s
RETURNING expires_at

-- name: delete_session
DELETE FROM sessions WHERE id = %(id)s

-- name: delete_sessions_of_user
DELETE FROM sessions WHERE user_id = %(user_id)s
