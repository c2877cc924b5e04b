-- name: now
-- One query, so that all three values are read at the same moment.
SELECT valid_history(), (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, epoch FROM relay_state

-- name: ended_histories
SELECT id FROM ended_histories

-- name: followers
-- Each id is packed into eight bytes, so that neither side spends time on decimal digits.
SELECT user_id, (
    SELECT string_agg(int8send(follower_id), '') FROM (
        SELECT follower_id FROM follows WHERE followed_id = user_id LIMIT %(limit)s
    ) AS page
)
FROM unnest(%(user_ids)s::bigint[]) AS user_id

-- name: follower_page
SELECT min(seq), string_agg(int8send(follower_id), '') FROM (
    SELECT seq, follower_id FROM follows
    WHERE followed_id = %(user_id)s AND (%(before)s::bigint IS NULL OR seq < %(before)s)
    ORDER BY seq DESC LIMIT %(limit)s
) AS page
