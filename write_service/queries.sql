-- name: insert_user
-- Right after a restore, the id may have been given to somebody else before, in commits that were lost.
-- The access tokens of that user end here. begin_history() must have been called before.
WITH created AS (
    INSERT INTO users (username, email, password_hash, bio)
    VALUES (%(username)s, %(email)s, %(password_hash)s, %(bio)s)
    RETURNING id AS user_id, username, bio, created_at, updated_at, token_epoch
), ended AS (
    INSERT INTO ended_tokens (user_id, epoch)
    SELECT user_id, token_epoch FROM created
    WHERE EXISTS (
        SELECT FROM ended_histories
        WHERE ended_at > clock_timestamp() - %(ended_seconds)s * interval '1 second'
    )
    ON CONFLICT (user_id, session) DO UPDATE SET epoch = excluded.epoch, ended_at = excluded.ended_at
)
SELECT user_id, username, bio, created_at, updated_at FROM created

-- name: username_and_epoch
SELECT username, token_epoch FROM users WHERE id = %(user_id)s

-- name: update_user
-- A new password or e-mail address begins a new epoch, which ends access tokens; see end_tokens.
UPDATE users
SET username      = coalesce(%(username)s, username),
    email         = coalesce(%(email)s, email),
    password_hash = coalesce(%(password_hash)s, password_hash),
    bio           = coalesce(%(bio)s, bio),
    token_epoch   = CASE
        WHEN %(email)s::text IS NULL AND %(password_hash)s::text IS NULL THEN token_epoch
        ELSE greatest(token_epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    END,
    updated_at    = clock_timestamp()
WHERE id = %(user_id)s AND deleted_at IS NULL
RETURNING id AS user_id, username, bio, created_at, updated_at

-- name: end_tokens
-- Ends the user's access tokens of earlier epochs.
INSERT INTO ended_tokens (user_id, epoch) SELECT id, token_epoch FROM users WHERE id = %(user_id)s
ON CONFLICT (user_id, session) DO UPDATE SET epoch = excluded.epoch, ended_at = excluded.ended_at

-- name: is_username_kept
-- Whether the username was another user's within the last 30 days. Runs after the statement that takes
-- the name: that one waits for transactions that free the name, and this one then sees what they did.
SELECT true FROM freed_usernames
WHERE username_sha256 = username_sha256(%(username)s) AND user_id IS DISTINCT FROM %(user_id)s

-- name: keep_username
-- Keeps a name that its user has given up from being taken by others.
INSERT INTO freed_usernames (username_sha256, user_id)
VALUES (username_sha256(%(username)s), %(user_id)s)
ON CONFLICT (username_sha256) DO UPDATE SET user_id = excluded.user_id, freed_at = excluded.freed_at

-- name: release_usernames
-- Releases all but the last names that a user gave up, so that nobody can block names without limit.
DELETE FROM freed_usernames WHERE username_sha256 IN (
    SELECT username_sha256 FROM freed_usernames WHERE user_id = %(user_id)s
    ORDER BY freed_at DESC OFFSET %(kept)s
)

-- name: end_account
-- Ends all access tokens of a user who is about to be deleted, and keeps their username from being
-- taken by others. No epoch is as high as this one.
WITH leaving AS (
    SELECT id, username FROM users WHERE id = %(user_id)s
), ended AS (
    INSERT INTO ended_tokens (user_id, epoch) SELECT id, 9223372036854775807 FROM leaving
    ON CONFLICT (user_id, session) DO UPDATE SET epoch = excluded.epoch, ended_at = excluded.ended_at
)
INSERT INTO freed_usernames (username_sha256) SELECT username_sha256(username) FROM leaving
ON CONFLICT (username_sha256) DO UPDATE SET user_id = NULL, freed_at = excluded.freed_at

-- name: lock_user_for_deletion
-- Waits for all transactions that have locked the user, but not longer than lock_timeout for each.
-- Afterwards nothing is added to the user. Without this lock, mark_deleted would not be noticed by a
-- concurrent lock_users with an older snapshot: KEY SHARE gets the old row if no key was changed or locked.
SELECT id FROM users WHERE id = %(user_id)s AND deleted_at IS NULL FOR UPDATE

-- name: mark_deleted
UPDATE users
SET deleted_at = clock_timestamp(), email = NULL, password_hash = NULL, bio = '', admin = false
WHERE id = %(user_id)s

-- name: lock_next_deleted_user
-- Returns and locks the deleted user with the lowest id above after. Skips users whom another process
-- is erasing.
SELECT id AS user_id, extract(epoch FROM clock_timestamp() - deleted_at)::float AS seconds
FROM users WHERE deleted_at IS NOT NULL AND id > %(after)s
ORDER BY id LIMIT 1
FOR UPDATE SKIP LOCKED

-- name: erase_newest_tweets
DELETE FROM tweets WHERE id = ANY(ARRAY(
    SELECT id FROM tweets WHERE user_id = %(user_id)s ORDER BY id DESC LIMIT %(limit)s
))
RETURNING id

-- name: erase_follows
-- Erases follows by the user, at most following, and follows of the user, at most followers. Locks the
-- rows in a fixed order first, so that two users who follow each other can be erased concurrently
-- without a deadlock. For that, a transaction must run this only once.
WITH chosen AS (
    (SELECT follower_id, followed_id FROM follows
    WHERE follower_id = %(user_id)s ORDER BY seq DESC LIMIT %(following)s)
    UNION ALL
    (SELECT follower_id, followed_id FROM follows
    WHERE followed_id = %(user_id)s ORDER BY seq DESC LIMIT %(followers)s)
), doomed AS MATERIALIZED (
    SELECT follows.follower_id, follows.followed_id
    FROM chosen JOIN follows USING (follower_id, followed_id)
    ORDER BY follower_id, followed_id
    FOR UPDATE OF follows
)
DELETE FROM follows USING doomed
WHERE follows.follower_id = doomed.follower_id AND follows.followed_id = doomed.followed_id
RETURNING follows.follower_id, follows.followed_id

-- name: erase_request_ids
DELETE FROM tweet_requests WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM tweet_requests WHERE user_id = %(user_id)s LIMIT %(limit)s FOR UPDATE
))

-- name: delete_erased_user
-- Deletes the user's row if nothing else is left of the user. This frees the username. The caller has
-- locked the user, so nothing can be added.
DELETE FROM users WHERE id = %(user_id)s
    AND NOT EXISTS (SELECT FROM tweets WHERE user_id = %(user_id)s)
    AND NOT EXISTS (SELECT FROM follows WHERE follower_id = %(user_id)s)
    AND NOT EXISTS (SELECT FROM follows WHERE followed_id = %(user_id)s)
    AND NOT EXISTS (SELECT FROM tweet_requests WHERE user_id = %(user_id)s)

-- name: count_unsent_events
-- Stops counting at limit.
SELECT count(*) FROM (SELECT FROM outbox WHERE sent_at IS NULL LIMIT %(limit)s) AS counted

-- name: lock_users
-- KEY SHARE only prevents the users from being deleted until this transaction ends. Users whose rows
-- are locked otherwise are left out, so that nobody waits for them while using a connection.
SELECT id FROM users WHERE id = ANY(%(user_ids)s) AND deleted_at IS NULL
ORDER BY id FOR KEY SHARE SKIP LOCKED

-- name: lock_user_for_update
SELECT id FROM users WHERE id = %(user_id)s AND deleted_at IS NULL FOR NO KEY UPDATE SKIP LOCKED

-- name: lock_user_alone
-- Excludes every other tweet and follow by the user, because these hold KEY SHARE.
SELECT id FROM users WHERE id = %(user_id)s FOR UPDATE SKIP LOCKED

-- name: existing_users
SELECT id FROM users WHERE id = ANY(%(user_ids)s) AND deleted_at IS NULL

-- name: use_generic_plans
-- For the rest of the transaction. Postgres would plan lock_authors again each time, which takes longer than
-- to run it, because it overestimates the number of authors in a generic plan.
SET LOCAL plan_cache_mode = force_generic_plan

-- name: lock_authors
-- Parameters: user ids, follower bounds, pull_followers, and how many ids to draw.
-- Locks the authors as lock_users does, leaves out the same, and draws ids for new tweets. All the tweets have one
-- creation time, which is not before the time in any of the ids.
-- For each author it returns whether they are a pull author and how many followers they have. The
-- count stops above pull_followers. It is null if it does not matter: for pull authors, if
-- pull_followers is 0, or if an upper bound shows that the author cannot have more than
-- pull_followers. The bound is follower_bound plus the last number drawn by a follow, see
-- follower_counts.py. A follow that commits meanwhile may be missed; it counts for a later tweet.
-- LATERAL has each author looked up by the index. With a join, Postgres read a table of some thousand users as a
-- whole. The order of the locks does not matter, because this waits for none.
WITH locked AS MATERIALIZED (
    SELECT author.id, pulled, CASE
        WHEN pulled OR $3::bigint = 0 THEN NULL
        WHEN follower_bound + (SELECT last_value FROM follows_seq_seq) <= $3::bigint THEN NULL
        ELSE (
            SELECT count(*) FROM (
                SELECT FROM follows WHERE followed_id = author.id LIMIT $3::bigint + 1
            ) AS counted
        )
    END AS followers
    FROM unnest($1::bigint[], $2::bigint[]) AS asked (id, follower_bound)
    CROSS JOIN LATERAL (
        SELECT id, pulled FROM users WHERE id = asked.id AND deleted_at IS NULL
        FOR KEY SHARE SKIP LOCKED
    ) AS author
)
SELECT user_ids, pulled, follower_counts, tweet_ids, clock_timestamp() AS created_at
FROM (
    SELECT array_agg(id) AS user_ids, array_agg(pulled) AS pulled,
        array_agg(followers) AS follower_counts
    FROM locked
) AS authors,
(
    SELECT array_agg(id ORDER BY id) AS tweet_ids
    FROM (SELECT next_tweet_id() AS id FROM generate_series(1, $4::bigint) OFFSET 0) AS drawn
) AS tweets

-- name: pull_authors
-- Marks those of the users whose rows nobody else has locked. The others become pull authors with a later
-- tweet, so that a group of tweets does not wait for one author.
UPDATE users SET pulled = true
WHERE id IN (
    SELECT id FROM users WHERE id = ANY(%(user_ids)s) AND NOT pulled
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING id

-- name: claim_request_ids
-- Inserts the claims that do not exist yet and returns their tweet ids. It waits for concurrent
-- transactions with the same request_ids, but not longer than lock_timeout; the order prevents deadlocks
-- among them.
INSERT INTO tweet_requests (user_id, request_id, content_sha256, tweet_id, created_at)
SELECT claims.*, %(created_at)s::timestamptz FROM unnest(
    %(user_ids)b::bigint[], %(request_ids)b::uuid[], %(digests)b::bytea[], %(tweet_ids)b::bigint[]
) AS claims (user_id, request_id, content_sha256, tweet_id)
ORDER BY user_id, request_id
ON CONFLICT DO NOTHING
RETURNING tweet_id

-- name: limit_lock_wait
SET LOCAL lock_timeout = '50ms'

-- name: lift_lock_wait
SET LOCAL lock_timeout TO DEFAULT

-- name: claims_of_request_ids
SELECT user_id, request_id, content_sha256, tweet_id, created_at
FROM tweet_requests
JOIN unnest(%(user_ids)b::bigint[], %(request_ids)b::uuid[]) AS asked (user_id, request_id)
USING (user_id, request_id)

-- name: update_tweet
UPDATE tweets
SET content = %(content)s, version = version + 1, updated_at = clock_timestamp()
WHERE id = %(tweet_id)s
    AND NOT EXISTS (SELECT FROM users WHERE id = tweets.user_id AND deleted_at IS NOT NULL)
RETURNING id, user_id, content, created_at, updated_at, version

-- name: delete_tweet
DELETE FROM tweets WHERE id = %(tweet_id)s
    AND NOT EXISTS (SELECT FROM users WHERE id = tweets.user_id AND deleted_at IS NOT NULL)
RETURNING user_id

-- name: expire_request
UPDATE tweet_requests SET tweet_deleted_at = now() WHERE tweet_id = %(tweet_id)s

-- name: insert_follow
-- Inserts the follow if the follower would not exceed a limit. Unless the transaction is the only one
-- that inserts follows by this user (alone), the limit is lower by max_connections: that many
-- transactions at most may insert follows that this one does not see.
WITH allowed AS MATERIALIZED (
    SELECT greatest(0, %(max_following)s - CASE
        WHEN %(alone)s THEN 0 ELSE current_setting('max_connections')::bigint
    END) AS follows
)
INSERT INTO follows (follower_id, followed_id)
SELECT %(follower_id)s, %(followed_id)s
WHERE (SELECT follows FROM allowed) > (
    SELECT count(*) FROM (
        SELECT FROM follows WHERE follower_id = %(follower_id)s LIMIT (SELECT follows FROM allowed)
    ) AS counted
)
ON CONFLICT DO NOTHING

-- name: following_state
-- The count stops at max_following.
SELECT
    EXISTS (
        SELECT FROM follows WHERE follower_id = %(follower_id)s AND followed_id = %(followed_id)s
    ) AS is_followed,
    (SELECT count(*) FROM (
        SELECT FROM follows WHERE follower_id = %(follower_id)s LIMIT %(max_following)s
    ) AS counted) AS following

-- name: delete_follow
DELETE FROM follows WHERE follower_id = %(follower_id)s AND followed_id = %(followed_id)s

-- name: enqueue_events
-- Runs after the statements that lock the changed rows, so that the ids that are drawn here are in
-- commit order for each tweet, follow and user. begin_history() makes sure that the history is valid;
-- otherwise the ids could repeat those of a lost history.
INSERT INTO outbox (key, type, payload, traceparent)
SELECT key, type, payload, %(traceparent)s::text
FROM begin_history(forced => false), unnest(%(keys)b::bigint[], %(types)b::text[], %(payloads)b::bytea[])
     WITH ORDINALITY AS events (key, type, payload, position)
ORDER BY position

-- name: insert_tweets_and_events
-- Parameters: ids, user ids, contents, payloads of the events, creation time, type of the events, and their
-- traceparents, which are empty strings for calls that are not traced, or an empty array if none is.
-- Inserts new tweets and enqueues their events, in one statement to save a round trip. An earlier
-- statement has locked the authors, and no other transaction sees the tweets. So the ids drawn for the
-- events are in commit order for each user, as in enqueue_events.
WITH rows AS (
    SELECT * FROM unnest(
        $1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $7::text[]
    ) WITH ORDINALITY AS rows (id, user_id, content, payload, traceparent, position)
), inserted AS (
    INSERT INTO tweets (id, user_id, content, created_at, updated_at)
    SELECT id, user_id, content, $5::timestamptz, $5::timestamptz FROM rows
)
INSERT INTO outbox (key, type, payload, traceparent)
SELECT user_id, $6::text, payload, nullif(traceparent, '')
FROM begin_history(forced => false), rows ORDER BY position

-- name: copy_events
COPY outbox (key, type, payload) FROM STDIN

-- name: wake_relay
SELECT pg_notify(%(channel)s, '')

-- name: committed
-- Parameter: the channel of the relay.
-- Runs after a commit. Returns an LSN at or after the commit, the valid history, and a number that the
-- sequence of follows has reached: last_value minus one, because a sequence that was never used has 1.
-- Also wakes the relay. Inside the transaction, pg_notify would make concurrent commits wait for one
-- another, including their flush to disk. If the process dies before it runs this, the relay finds
-- the events within a second.
SELECT
    (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS lsn,
    valid_history() AS history, -- null only if relay_state was put back after the commit
    (SELECT last_value - 1 FROM follows_seq_seq) AS follows_drawn
FROM pg_notify($1::text, '')

-- name: terminate_silent_relay
-- Ends the session that holds the relay lock if it has been idle for too long. idle_session_timeout
-- cannot do this: it does not apply after a pipeline, which psycopg ends with a Flush.
SELECT pid, pg_terminate_backend(pid)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = 0 AND objid = %(lock)s AND granted
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND state_change < clock_timestamp() - %(seconds)s * interval '1 second'

-- name: server_identity
SELECT server_identity()

-- name: begin_history
SELECT begin_history(forced => %(forced)s)

-- name: begin_history_if_none_is_valid
SELECT begin_history(forced => false)

-- name: begin_epoch
UPDATE relay_state SET epoch = epoch + 1 RETURNING epoch AS number, history

-- name: heartbeat
-- Records the current LSN, and returns whether the relay's epoch is the newest and its history valid.
-- Returns null if the database has only older epochs: it was put back to an older state while it ran.
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

-- name: use_index_scans
-- For the session of a relay. Generic plans save the planning. Where a table has no index to use, versions before
-- 18 estimate a very high cost for reading it, which would have them compile the plan; hence no jit.
SELECT set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false),
    set_config('enable_bitmapscan', 'off', false), set_config('jit', 'off', false)

-- name: unsent_events
-- From the low-water mark on; see low_water_mark.py.
SELECT id, key, type, payload, created_at, traceparent FROM outbox
WHERE sent_at IS NULL AND id >= %(low_water_mark)s ORDER BY id LIMIT %(limit)s

-- name: last_event_id
SELECT last_value FROM outbox_id_sequence

-- name: transactions_that_insert_events
-- Every INSERT and COPY takes this lock before it draws an id. It is released after the commit is visible.
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'outbox'::regclass AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: current_lsn
SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint

-- name: mark_sent
-- Marks events as sent and returns a row. If the relay's epoch is not the newest, it does nothing and
-- returns no row. Because of the lock on relay_state, either a relay that begins the next epoch waits
-- for this statement, or this statement sees that epoch. The history is compared as well, since epochs
-- repeat after older rows were put back.
-- Also records that this history has reached the batch's LSN: a replica that has replayed the record
-- has every commit up to that LSN.
WITH newest AS MATERIALIZED (
    SELECT FROM relay_state
    WHERE epoch = %(epoch)s AND history = %(history)s AND server = server_identity()
    FOR UPDATE
),
noted AS (
    UPDATE relay_state SET lsn = %(lsn)s, seen_at = clock_timestamp() FROM newest
),
marked AS (
    UPDATE outbox SET sent_at = coalesce(first_sent_at, now())
    FROM newest
    WHERE id = ANY(%(ids)b::bigint[])
)
SELECT true FROM newest

-- name: purge
-- Deletes the rows of a table whose retention has expired, by the time in a column: the oldest first,
-- at most limit. Returns how many were deleted, and the last of their times. The next call passes that
-- time as after. Without it, each call would read the index from its beginning, through the entries of
-- all rows that were deleted since the last vacuum.
WITH expired AS MATERIALIZED (
    SELECT ctid AS place, {expires_by} FROM {table}
    WHERE {expires_by} >= coalesce(%(after)s, '-infinity'::timestamptz)
        AND {expires_by} < now() - %(seconds)s * interval '1 second'
    ORDER BY {expires_by} LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
purged AS (DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT place FROM expired)))
SELECT count(*), max({expires_by}) AS last_at FROM expired

-- name: outbox_slots
-- The slot that new events get, and those of the partitions that are not as empty as TRUNCATE leaves them.
SELECT (SELECT last_value FROM outbox_slot_sequence)::int AS filling, ARRAY(
    SELECT slot FROM generate_series(0, %(last)s::int) AS slot
    WHERE pg_relation_size(('outbox_' || slot)::regclass) > 0
) AS used

-- name: limit_statement
SET LOCAL statement_timeout = '2s'

-- name: lock_partition
LOCK TABLE {partition} IN ACCESS EXCLUSIVE MODE

-- name: is_partition_expired
-- Whether all events of a partition were sent, and long enough ago. Looks for unsent ones last, because a snapshot
-- that is held may make it read what was sent since.
SELECT coalesce((SELECT max(sent_at) FROM {partition}) < now() - %(seconds)s * interval '1 second', true)
    AND NOT EXISTS (SELECT FROM {partition} WHERE sent_at IS NULL)

-- name: empty_partition
TRUNCATE {partition}

-- name: is_partition_full
-- Whether the first event of a partition is older than this; no row if there is none.
SELECT created_at < now() - %(seconds)s * interval '1 second' FROM {partition} ORDER BY id LIMIT 1

-- name: fill_partition
SELECT setval('outbox_slot_sequence', %(slot)s)

-- name: tweet_author
SELECT user_id FROM tweets JOIN users ON users.id = user_id
WHERE tweets.id = %(tweet_id)s AND deleted_at IS NULL

-- name: is_admin
SELECT admin FROM users WHERE id = %(user_id)s AND deleted_at IS NULL

-- name: credentials
SELECT id, password_hash, admin, token_epoch FROM users
WHERE lower(username COLLATE "C") = lower(%(username)s::text COLLATE "C") AND deleted_at IS NULL

-- name: password_hash
SELECT password_hash FROM users WHERE id = %(user_id)s

-- name: replace_password_hash
-- Does nothing if the password was changed in the meantime.
UPDATE users SET password_hash = %(new)s WHERE id = %(user_id)s AND password_hash = %(old)s

-- name: insert_session
-- A deletion and a password change end all sessions of the user. FOR SHARE and these exclude each
-- other, so that no session is created beside them and survives.
INSERT INTO sessions (id, user_id, secret_sha256, expires_at)
SELECT %(id)s, id, %(sha256)s, now() + %(seconds)s * interval '1 second'
FROM users WHERE id = %(user_id)s AND password_hash = %(password_hash)s
FOR SHARE
RETURNING expires_at, signed_in_at

-- name: purge_sessions_of_user
-- Deletes expired sessions and all but the newest. Otherwise anybody who knows a password could add
-- rows without limit. Without SKIP LOCKED, concurrent sign-ins could deadlock on each other's rows.
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions
    WHERE user_id = %(user_id)s AND (expires_at < now() OR id IN (
        SELECT id FROM sessions WHERE user_id = %(user_id)s ORDER BY expires_at DESC OFFSET %(kept)s
    ))
    FOR UPDATE SKIP LOCKED
)

-- name: lock_session
SELECT sessions.user_id, secret_sha256, users.admin, users.token_epoch, signed_in_at
FROM sessions JOIN users ON users.id = sessions.user_id
WHERE sessions.id = %(id)s AND expires_at > now()
FOR UPDATE OF sessions

-- name: renew_session
UPDATE sessions SET secret_sha256 = %(sha256)s, expires_at = now() + %(seconds)s * interval '1 second'
WHERE id = %(id)s
RETURNING expires_at

-- name: delete_session
-- Also ends the session's access tokens. Returns a row if the session existed.
WITH deleted AS (
    DELETE FROM sessions WHERE id = %(id)s RETURNING user_id
)
INSERT INTO ended_tokens (user_id, session) SELECT user_id, %(name)s FROM deleted
ON CONFLICT (user_id, session) DO UPDATE SET ended_at = excluded.ended_at
RETURNING user_id

-- name: delete_sessions_of_user
DELETE FROM sessions WHERE user_id = %(user_id)s

-- name: outbox_size
-- The rows are those that Postgres counts as it inserts and deletes them: a table of millions is not read.
SELECT (
    SELECT count(*) FROM (
        SELECT FROM outbox WHERE sent_at IS NULL LIMIT %(limit)s
    ) AS unsent
) AS unsent_events,
coalesce((
    SELECT extract(epoch FROM clock_timestamp() - created_at)::float
    FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1
), 0) AS oldest_seconds,
(
    SELECT coalesce(sum(n_live_tup), 0)::bigint FROM pg_stat_user_tables
    WHERE relid = 'outbox'::regclass
        OR relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'outbox'::regclass)
) AS rows
