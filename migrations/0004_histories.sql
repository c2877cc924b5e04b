-- Histories. A history is one unbroken line of commits. LSNs, epochs, event ids and tweet versions can
-- only be compared within one history, because a restored copy of the database uses them again.
--
-- A restored copy has the same rows as the original, and nothing that Postgres stores tells them apart.
-- What differs is the server. Every way to restore or to fail over starts another postmaster, which has
-- another start time. A dump that is loaded into the running server gives the database or the table
-- another oid. A plain restart cannot be told from a restore, and therefore begins a new history too.
--
-- Postgres' system identifier and timeline id are not needed: when they differ, so does the start time.
-- To read them would take three times as long.
CREATE FUNCTION server_identity() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws('/',
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'relay_state'::regclass::oid,
        (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint)
$$;

ALTER TABLE relay_state
    -- The id of the current history, ten hexadecimal digits; null until the first one begins.
    ADD COLUMN history text,
    -- The server on which it began. On any other server, and after a restart, it has ended.
    ADD COLUMN server  text,
    -- The relay's heartbeat: an LSN, and when it was recorded. It belongs to this history, because the
    -- active relay read it on the history's server. A replica that has the row has every commit up to it.
    ADD COLUMN lsn     bigint NOT NULL DEFAULT 0,
    ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();

-- Histories that have ended.
CREATE TABLE ended_histories (
    id       text PRIMARY KEY,
    -- This database has every commit of that history up to this LSN. Later ones may be lost. 0 if the
    -- history was ended by a command: then any row may have been put back while the server ran.
    lsn      bigint NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now()
);

-- Returns the current history, or null if it ended by a restart, restore or failover. Primary only.
CREATE FUNCTION valid_history() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT history FROM relay_state WHERE server = server_identity()
$$;

-- Begins a new history if the current one has ended, or in any case if forced. Returns the current
-- history. Every transaction that enqueues events calls it first.
-- In a new history, event ids continue from the clock in microseconds. There have never been a million
-- events a second, so these ids are higher than all ids that a lost history has used.
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
