-- A user whose row has deleted_at does not exist for readers; see write_service/erasure.py.

-- name: has_token
-- Whether this server has committed what a consistency token stands for. Null if that may be lost: the
-- token is of another history, and its LSN is not known to be before the end of that history.
-- On a replica, only the last LSN counts that the relay recorded and the replica has replayed. Its own
-- LSN does not, because it may follow a restored primary. The same holds for a primary on which no
-- history has begun since it started.
SELECT CASE
    WHEN %(lsn)s <= (SELECT lsn FROM ended_histories WHERE id = %(history)s) THEN true
    WHEN history IS DISTINCT FROM %(history)s THEN NULL
    WHEN lsn >= %(lsn)s THEN true
    WHEN pg_is_in_recovery() THEN false
    ELSE server = server_identity() AND (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint >= %(lsn)s
END FROM relay_state

-- name: current_history
SELECT valid_history() AS history, seen_at FROM relay_state

-- name: replicated_history
SELECT history, seen_at FROM relay_state

-- name: user_by_id
SELECT id, username, bio, created_at, updated_at FROM users
WHERE id = %(user_id)s AND deleted_at IS NULL

-- name: account
SELECT id, username, bio, created_at, updated_at, coalesce(email, '') AS email FROM users
WHERE id = %(user_id)s AND deleted_at IS NULL

-- name: user_by_username
SELECT id, username, bio, created_at, updated_at FROM users
WHERE lower(username COLLATE "C") = lower(%(username)s::text COLLATE "C") AND deleted_at IS NULL

-- name: users_by_id
SELECT id, username, bio, created_at, updated_at FROM users
WHERE id = ANY(%(ids)s) AND deleted_at IS NULL

-- name: user_exists
SELECT true AS found FROM users WHERE id = %(user_id)s AND deleted_at IS NULL

-- name: list_users
SELECT id, username, bio, created_at, updated_at FROM users
WHERE id > %(after)s AND deleted_at IS NULL
ORDER BY id
OFFSET %(offset)s LIMIT %(limit)s

-- name: tweets_by_id
SELECT id, user_id, content, created_at, updated_at, version FROM tweets WHERE id = ANY(%(ids)s)

-- name: follow
SELECT created_at FROM follows
WHERE follower_id = %(follower_id)s AND followed_id = %(followed_id)s AND NOT EXISTS (
    SELECT FROM users WHERE id IN (%(follower_id)s, %(followed_id)s) AND deleted_at IS NOT NULL
)

-- name: list_user_tweets
SELECT id, user_id, content, created_at, updated_at FROM tweets
WHERE user_id = %(user_id)s AND id < %(before)s
    AND EXISTS (SELECT FROM users WHERE id = %(user_id)s AND deleted_at IS NULL)
ORDER BY id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: list_followers
SELECT users.id, username, bio, users.created_at, updated_at, seq
FROM follows JOIN users ON users.id = follower_id
WHERE followed_id = %(user_id)s AND seq < %(before)s AND deleted_at IS NULL
    AND EXISTS (SELECT FROM users WHERE id = %(user_id)s AND deleted_at IS NULL)
ORDER BY seq DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: list_following
SELECT users.id, username, bio, users.created_at, updated_at, seq
FROM follows JOIN users ON users.id = followed_id
WHERE follower_id = %(user_id)s AND seq < %(before)s AND deleted_at IS NULL
    AND EXISTS (SELECT FROM users WHERE id = %(user_id)s AND deleted_at IS NULL)
ORDER BY seq DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: home_timeline
-- Reads the newest tweets of each followed user from an index; the newest of all of these are the page.
SELECT page.id, page.user_id, page.content, page.created_at, page.updated_at
FROM follows
CROSS JOIN LATERAL (
    SELECT id, user_id, content, created_at, updated_at FROM tweets
    WHERE user_id = followed_id AND id < %(before)s
    ORDER BY id DESC
    LIMIT %(offset)s + %(limit)s
) AS page
WHERE follower_id = %(user_id)s
ORDER BY page.id DESC
OFFSET %(offset)s LIMIT %(limit)s

-- name: newest_ids
-- The base of a home timeline's list. One statement, so that both columns are of one snapshot.
SELECT ARRAY(
    SELECT newest.id
    FROM follows
    CROSS JOIN LATERAL (
        SELECT id FROM tweets WHERE user_id = followed_id ORDER BY id DESC LIMIT %(limit)s
    ) AS newest
    WHERE follower_id = %(user_id)s
    ORDER BY newest.id DESC
    LIMIT %(limit)s
) AS ids, ARRAY(
    SELECT followed_id FROM follows JOIN users ON users.id = followed_id
    WHERE follower_id = %(user_id)s AND pulled
    ORDER BY followed_id
) AS pull_authors

-- name: newest_ids_of_authors
SELECT author, ARRAY(
    SELECT id FROM tweets WHERE user_id = author ORDER BY id DESC LIMIT %(limit)s
) AS ids
FROM unnest(%(user_ids)s::bigint[]) AS author
