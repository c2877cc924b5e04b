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

-- name: limit_verification
SET LOCAL statement_timeout = '2s'

-- name: valid_history
SELECT valid_history()

-- name: author_timeline
SELECT id, user_id, content, version, 0 AS follow_seq FROM tweets
WHERE user_id = %(reader)s AND id >= %(floor)s
ORDER BY id DESC LIMIT %(limit)s

-- name: existing_tweets
SELECT id FROM tweets WHERE id = ANY(%(ids)s)

-- name: unsent_event_ids
SELECT id FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT %(limit)s

-- name: still_unsent
SELECT id FROM outbox WHERE id = ANY(%(ids)s) AND sent_at IS NULL LIMIT 1
