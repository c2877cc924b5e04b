-- Histories: which unbroken line of commits this database is at. LSNs, epochs, event ids and tweet
-- versions mean something only within one, because a restored copy gives them out a second time.
--
-- A restored copy of this database holds the same rows as the original, and nothing that Postgres
-- keeps tells the two apart. What differs is the server: every way to restore or to fail over has
-- another postmaster, and so another start time; a dump that is loaded into the running server has
-- another oid of the database or of the table. A plain restart looks the same as a restore, and
-- therefore begins a new history too.
--
-- The system identifier and Postgres' own timeline are not needed for it: wherever they differ, the
-- start time does. To read them takes three times as long.
CREATE FUNCTION server_identity() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws('/',
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'relay_state'::regclass::oid,
        (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint)
$$;

ALTER TABLE relay_state
    -- The current history: ten hexadecimal digits; null until the first one begins.
    ADD COLUMN history text,
    -- The server on which it began. On any other server, or after a restart, it has ended.
    ADD COLUMN server  text,
    -- The relay's heartbeat: an LSN that is certainly of this history, since a relay that was at
    -- work on its server noted it, and when. A replica that has the row has all commits up to it.
    ADD COLUMN lsn     bigint NOT NULL DEFAULT 0,
    ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();

-- Histories that this database has left behind.
CREATE TABLE ended_histories (
    id       text PRIMARY KEY,
    -- Every commit of that history up to this LSN is in this database. Later ones may be lost. 0
    -- where the history was ended by hand: then rows may have been put back while the server ran.
    lsn      bigint NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now()
);

-- The current history; null when it ended with a restart, a restore or a failover. Primary only.
CREATE FUNCTION valid_history() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT history FROM relay_state WHERE server = server_identity()
$$;

-- Begins a new history unless the current one is valid; with forced, in any case. Returns the
-- current one. Whoever enqueues an event calls it first. Event ids go on from the clock in
-- microseconds: fewer than a million events a second were ever drawn, so what a lost history drew
-- is below.
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
