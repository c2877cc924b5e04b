-- Histories. A history is a sequence of commits without a break. It ends when Postgres continues
-- from an older state: a restored backup, or a replica that took over before it had every commit.
-- Postgres then reuses LSNs, epochs, event ids and tweet versions, so they may be compared only
-- within one history.
--
-- A restored database has the same rows as the original, so rows cannot tell the two apart, but the
-- identity of the server can. After every restore or failover the database runs in another
-- postmaster, which has another start time. If a dump is loaded into the running server instead,
-- the database or the table has another oid. A plain restart cannot be told from a restore, so it
-- ends the history as well.
--
-- The system identifier and the WAL timeline of Postgres are not needed: where they differ, the
-- start time differs too. Reading them takes three times as long.
CREATE FUNCTION server_identity() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws('/',
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'relay_state'::regclass::oid,
        (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint)
$$;

ALTER TABLE relay_state
    -- The id of the current history: ten hexadecimal digits; null until the first one begins.
    ADD COLUMN history text,
    -- server_identity() when the history began. Where it returns something else, on another server
    -- or after a restart, the history has ended.
    ADD COLUMN server  text,
    -- The heartbeat of the relay: an LSN of this history, and when it was written. A relay writes
    -- it only on the server on which the history began. A replica on which this row holds an LSN
    -- has all commits up to that LSN.
    ADD COLUMN lsn     bigint NOT NULL DEFAULT 0,
    ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();

-- Histories of this database that have ended.
CREATE TABLE ended_histories (
    id       text PRIMARY KEY,
    -- This database has every commit of the history up to this LSN; later ones may be lost. 0 if a
    -- new history was forced since, because rows may have been restored in the running server then.
    lsn      bigint NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now()
);

-- Returns the current history, or null if it ended with a restart, a restore or a failover. Must be
-- called on the primary.
CREATE FUNCTION valid_history() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT history FROM relay_state WHERE server = server_identity()
$$;

-- Begins a new history if the current one has ended, or in any case if forced. Returns the history
-- that is then current. It must be called before an event is enqueued. The event ids of a new
-- history start at the present time in microseconds since 1970. So they are above those of every
-- earlier history, since no database draws a million ids a second.
CREATE FUNCTION begin_history(forced boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state relay_state;
    next_event_id bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    IF NOT forced THEN
        SELECT * INTO state FROM relay_state WHERE server = server_identity();
        IF FOUND THEN
            RETURN state.history;
        END IF;
    END IF;
    SELECT * INTO state FROM relay_state FOR UPDATE;
    IF state.server = server_identity() AND NOT forced THEN
        RETURN state.history;
    END IF;
    IF state.history IS NOT NULL THEN
        INSERT INTO ended_histories (id, lsn) VALUES (state.history, state.lsn);
    END IF;
    IF forced THEN
        UPDATE ended_histories SET lsn = 0;
    END IF;
    IF next_event_id > (SELECT last_value FROM outbox_id_sequence) THEN
        PERFORM setval('outbox_id_sequence', next_event_id);
    END IF;
    UPDATE relay_state SET
        history = left(replace(gen_random_uuid()::text, '-', ''), 10),
        server = server_identity(),
        lsn = (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint,
        seen_at = clock_timestamp()
    RETURNING history INTO state.history;
    RETURN state.history;
END $$;
