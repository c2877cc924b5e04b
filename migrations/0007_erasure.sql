-- What was deleted must also leave the files of these tables within minutes, even if nothing else
-- happens to the table. By default, Postgres removes deleted rows only once they are a fifth of a
-- table, so those of a quiet table would stay for ever. With these settings, autovacuum looks at a
-- table once a minute and vacuums it if it has a single deleted row. It reads only the pages that
-- changed since the last time.
ALTER TABLE users SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0,
    -- The indexes hold usernames and e-mail addresses. By default, vacuum leaves the entries of few
    -- deleted rows in the indexes.
    vacuum_index_cleanup = on);
ALTER TABLE sessions SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0);
ALTER TABLE tweets SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0);
ALTER TABLE tweet_requests SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0);

-- When an event was first sent, if `fanfare replay` has made it unsent again; otherwise null. It
-- becomes sent_at again when the event is sent, so that a replay does not prolong the retention.
ALTER TABLE outbox ADD COLUMN first_sent_at timestamptz;

-- ANALYZE copies values of a column into the catalog pg_statistic, where they stay until the next
-- ANALYZE. No query plan needs those of these columns.
ALTER TABLE users
    ALTER username SET STATISTICS 0, ALTER email SET STATISTICS 0,
    ALTER password_hash SET STATISTICS 0, ALTER bio SET STATISTICS 0;
ALTER INDEX users_username_key ALTER COLUMN 1 SET STATISTICS 0;
ALTER INDEX users_email_key ALTER COLUMN 1 SET STATISTICS 0;
ALTER TABLE sessions ALTER secret_sha256 SET STATISTICS 0;
ALTER TABLE tweets ALTER content SET STATISTICS 0;
ALTER TABLE tweet_requests ALTER content_sha256 SET STATISTICS 0;
ALTER TABLE outbox ALTER payload SET STATISTICS 0;
-- Removes the copies of the past. Before Postgres 18, only a superuser can: docs/operations.md.
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        PERFORM pg_clear_attribute_stats(current_schema, relation::regclass::text, attname, false)
        FROM unnest(ARRAY['users', 'users_username_key', 'users_email_key', 'sessions', 'tweets',
            'tweet_requests', 'outbox']) AS relation
        JOIN pg_attribute ON attrelid = relation::regclass AND attstattarget = 0;
    END IF;
END $$;
