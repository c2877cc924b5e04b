-- name: now
-- One query, so that the two are of one moment.
SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, epoch FROM relay_state

-- name: followers
SELECT followed_id, array_agg(follower_id) FROM follows
WHERE followed_id = ANY(%(user_ids)s)
GROUP BY followed_id
