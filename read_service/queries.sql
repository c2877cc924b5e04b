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

-- name: is_primary
-- Whether this server is the primary.
SELECT NOT pg_is_in_recovery()

-- name: if_fresh
-- Runs a query only if the server may answer it, which is a question like has_token. Each row of the query
-- has is_fresh and is_row before its own columns. If the query has no rows or is not run, there is one row
-- with nulls, where is_row is null, too.
-- One statement has one snapshot. So if the row of relay_state that the question reads is there, the query
-- sees all that was committed before. The rows keep their order, since there is only one row to join.
SELECT server.is_fresh, answer.*
FROM ({question}) AS server (is_fresh)
LEFT JOIN LATERAL (
    SELECT true AS is_row, found.* FROM ({query}) AS found WHERE server.is_fresh
) AS answer ON true

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
-- The rows that OFFSET skips are read from an index only, here and in the other lists. Users who are
-- being erased are few, and are looked up once for each statement.
SELECT id, username, bio, created_at, updated_at FROM users
JOIN (
    SELECT id FROM users
    WHERE id > %(after)s AND id NOT IN (SELECT id FROM users WHERE deleted_at IS NOT NULL)
    ORDER BY id
    OFFSET %(offset)s LIMIT %(limit)s
) AS page USING (id)
ORDER BY id

-- name: existing_tweets
SELECT id FROM tweets WHERE id = ANY(%(ids)s)

-- name: tweets_by_id
SELECT id, user_id, content, created_at, updated_at, version FROM tweets WHERE id = ANY(%(ids)s)

-- name: follow
SELECT created_at FROM follows
WHERE follower_id = %(follower_id)s AND followed_id = %(followed_id)s AND NOT EXISTS (
    SELECT FROM users WHERE id IN (%(follower_id)s, %(followed_id)s) AND deleted_at IS NOT NULL
)

-- name: list_user_tweets
SELECT id, user_id, content, created_at, updated_at FROM tweets
JOIN (
    SELECT id FROM tweets
    WHERE user_id = %(user_id)s AND id < %(before)s
        AND EXISTS (SELECT FROM users WHERE id = %(user_id)s AND deleted_at IS NULL)
    ORDER BY id DESC
    OFFSET %(offset)s LIMIT %(limit)s
) AS page USING (id)
ORDER BY id DESC

-- name: list_followers
SELECT id, username, bio, created_at, updated_at, seq
FROM users
JOIN (
    SELECT follower_id AS id, seq FROM follows
    WHERE followed_id = %(user_id)s AND seq < %(before)s
        AND follower_id NOT IN (SELECT id FROM users WHERE deleted_at IS NOT NULL)
        AND EXISTS (SELECT FROM users WHERE id = %(user_id)s AND deleted_at IS NULL)
    ORDER BY seq DESC
    OFFSET %(offset)s LIMIT %(limit)s
) AS page USING (id)
ORDER BY seq DESC

-- name: list_following
SELECT id, username, bio, created_at, updated_at, seq
FROM users
JOIN (
    SELECT followed_id AS id, seq FROM follows
    WHERE follower_id = %(user_id)s AND seq < %(before)s
        AND followed_id NOT IN (SELECT id FROM users WHERE deleted_at IS NOT NULL)
        AND EXISTS (SELECT FROM users WHERE id = %(user_id)s AND deleted_at IS NULL)
    ORDER BY seq DESC
    OFFSET %(offset)s LIMIT %(limit)s
) AS page USING (id)
ORDER BY seq DESC

-- name: newest_of_followed
-- The newest tweets of the users that `reader` follows, as the two statements below need them: the row
-- of `newest` with the highest `merged` has their ids in `ids`, at most %(count)s, newest first.
--
-- The followed users are merged in random order, in rounds, each of which doubles their number. Once
-- %(count)s ids are known, a round reads only ids that are not below the last of them. So whatever
-- the users have posted, a round reads about %(count)s ids, and one index entry for each user.
followed AS MATERIALIZED (
    SELECT followed_id AS author, row_number() OVER (ORDER BY random()) AS place
    FROM follows JOIN reader ON follower_id = reader.id
),
newest (merged, ids) AS (
    SELECT 0::bigint, ARRAY[]::bigint[]
    UNION ALL
    SELECT round_end, ARRAY(
        SELECT id FROM (
            SELECT unnest(ids) AS id
            UNION ALL
            SELECT tweet.id FROM followed CROSS JOIN LATERAL (
                SELECT id FROM tweets
                WHERE user_id = author AND id < %(before)s AND id >= coalesce(ids[%(count)s], 0)
                ORDER BY id DESC
                LIMIT %(count)s
            ) AS tweet
            WHERE place > merged AND place <= round_end
        ) AS candidates
        ORDER BY id DESC
        LIMIT %(count)s
    )
    FROM newest CROSS JOIN LATERAL (SELECT 2 * merged + 16 AS round_end) AS round
    WHERE merged < (SELECT count(*) FROM followed)
)

-- name: home_timeline
WITH RECURSIVE reader (id) AS (SELECT %(user_id)s::bigint),
-- include: newest_of_followed
SELECT id, user_id, content, created_at, updated_at FROM tweets
WHERE id = ANY (ARRAY(
    SELECT unnest(ids[%(offset)s + 1:]) FROM newest
    WHERE merged = (SELECT max(merged) FROM newest)
))
ORDER BY id DESC

-- name: newest_ids
-- The bases of home timelines' lists. One statement, so that all of it is of one snapshot.
-- The subquery hides the number of users from the planner. Otherwise a plan for that number seems better than
-- one for any number, and the statement is planned at each execution.
SELECT user_id, base.*
FROM unnest(ARRAY(SELECT unnest(%(user_ids)s::bigint[]))) AS asked (user_id) CROSS JOIN LATERAL (
    WITH RECURSIVE reader (id) AS (SELECT user_id),
    -- include: newest_of_followed
    SELECT ids, ARRAY(
        SELECT followed_id FROM follows JOIN users ON users.id = followed_id
        WHERE follower_id = asked.user_id AND pulled
        ORDER BY followed_id
    ) AS pull_authors
    FROM newest ORDER BY merged DESC LIMIT 1
) AS base

-- name: newest_ids_of_authors
SELECT author, ARRAY(
    SELECT id FROM tweets WHERE user_id = author ORDER BY id DESC LIMIT %(limit)s
) AS ids
FROM unnest(%(user_ids)s::bigint[]) AS author
