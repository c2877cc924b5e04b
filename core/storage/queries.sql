-- name: has_reached
-- Whether this server has reached a moment, which is an LSN of a history. A primary has reached it
-- if it is still at that history. A replica must have replayed the LSN; that is known from the
-- heartbeat that the relay writes into this row. The LSN that a replica itself reports does not
-- count: the replica may follow a restored primary that has not begun its new history yet.
-- Must be part of the statement whose reads rely on it, or a statement before them on the same connection.
SELECT history = %(history)s AND CASE
    WHEN pg_is_in_recovery() THEN lsn >= %(lsn)s
    ELSE server = server_identity()
END FROM relay_state

-- name: oracle_timeline
-- The definition of a home timeline, which every page served must agree with; here down to an id,
-- and at most a number of tweets, or all if the limit is null.
SELECT tweets.id, tweets.user_id, tweets.content, tweets.version, follows.seq AS follow_seq
FROM follows JOIN tweets ON tweets.user_id = follows.followed_id
WHERE follows.follower_id = %(reader)s AND tweets.id >= %(floor)s
ORDER BY tweets.id DESC LIMIT %(limit)s

-- name: server_settings
SELECT current_setting('server_version_num')::int AS version,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('autovacuum') AS autovacuum,
    current_setting('archive_timeout') AS archive_timeout

-- name: applied_migrations
SELECT name FROM schema_migrations
