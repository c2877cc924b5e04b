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

-- name: has_own_session
-- Whether the session has the mark that the connection was opened with. A pooler, which lends its own
-- sessions to connections, does not pass it on.
SELECT current_setting('fanfare.session', true) IS NOT DISTINCT FROM 'own'

-- name: begin_session
-- As has_own_session. Sets transaction_timeout, which Postgres has since version 17, if nobody else would
-- get the session with it.
WITH session AS MATERIALIZED (
    SELECT current_setting('fanfare.session', true) IS NOT DISTINCT FROM 'own' AS is_own
)
SELECT is_own, CASE WHEN is_own AND current_setting('server_version_num')::int >= 170000
    THEN set_config('transaction_timeout', %(transaction_timeout)s, false) END
FROM session

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
    current_setting('archive_timeout') AS archive_timeout,
    current_setting('statement_timeout') AS statement_timeout,
    current_setting('idle_in_transaction_session_timeout') AS idle_in_transaction_session_timeout

-- name: applied_migrations
SELECT name FROM schema_migrations
