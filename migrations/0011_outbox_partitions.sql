-- The outbox in four partitions. New events get into one of them, and the relay empties the others as a
-- whole when their events have expired (write_service/outbox_partitions.py). The table of before becomes
-- the first one. No index spans the partitions, so a unique id is the business of the sequence alone.
-- squawk-ignore renaming-table -- the new table has the former name when the transaction commits
ALTER TABLE outbox RENAME TO outbox_0;
CREATE TABLE outbox (LIKE outbox_0 INCLUDING DEFAULTS) PARTITION BY LIST (slot);
ALTER TABLE outbox ALTER payload SET STATISTICS 0;
-- The slot that new events get. The relay sets it; nobody draws from it. It is a sequence because all
-- sessions see a new value at once, and no versions of a row are left behind.
-- squawk-ignore prefer-bigint-over-smallint -- from 0 to 3
CREATE SEQUENCE outbox_slot_sequence AS smallint MINVALUE 0 MAXVALUE 3 START 1;
SELECT setval('outbox_slot_sequence', 1);

-- With the owner and the permissions of the former table, which the processes may rely on.
DO $$
DECLARE
    owner CONSTANT text := (SELECT relowner::regrole FROM pg_class WHERE oid = 'outbox_0'::regclass);
    permission record;
BEGIN
    FOR slot IN 1..3 LOOP
        EXECUTE format('CREATE TABLE outbox_%s (LIKE outbox_0 INCLUDING DEFAULTS INCLUDING INDEXES)', slot);
        EXECUTE format('ALTER TABLE outbox_%s ALTER payload SET STATISTICS 0', slot);
        -- As for all tables with personal data: see 0007.
        EXECUTE format('ALTER TABLE outbox_%s SET '
            '(autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0)', slot);
        EXECUTE format('ALTER TABLE outbox_%s OWNER TO %s', slot, owner);
    END LOOP;
    EXECUTE format('ALTER TABLE outbox OWNER TO %s', owner);
    EXECUTE format('ALTER SEQUENCE outbox_slot_sequence OWNER TO %s', owner);
    FOR permission IN
        SELECT privilege_type AS privilege, target,
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role
        FROM (VALUES
            ('outbox_0'::regclass, 'outbox, outbox_1, outbox_2, outbox_3'),
            ('outbox_id_sequence'::regclass, 'SEQUENCE outbox_slot_sequence')
        ) AS former (relation, target) JOIN pg_class ON oid = relation, aclexplode(relacl)
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s', permission.privilege, permission.target, permission.role);
    END LOOP;
END $$;

ALTER SEQUENCE outbox_id_sequence OWNED BY outbox.id;
ALTER SEQUENCE outbox_slot_sequence OWNED BY outbox.slot;
-- The slot is null to a role that may not read the sequence.
ALTER TABLE outbox ALTER slot SET DEFAULT coalesce(pg_sequence_last_value('outbox_slot_sequence'), 0);
-- Reads no row, because the constraint says what the partition's bound says.
ALTER TABLE outbox ATTACH PARTITION outbox_0 FOR VALUES IN (0);
-- squawk-ignore ban-drop-constraint -- the partition's bound says the same
ALTER TABLE outbox_0 DROP CONSTRAINT outbox_slot_check;
ALTER TABLE outbox ATTACH PARTITION outbox_1 FOR VALUES IN (1);
ALTER TABLE outbox ATTACH PARTITION outbox_2 FOR VALUES IN (2);
ALTER TABLE outbox ATTACH PARTITION outbox_3 FOR VALUES IN (3);

-- The relay of release 0.2.0 selects expired events by their places and deletes what has these places in the
-- outbox. The same place is in every partition, so it would delete unsent events. Its deletions do nothing;
-- later releases delete from one partition at a time, and say so. The release after this one drops the trigger.
CREATE FUNCTION keep_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END $$;
CREATE TRIGGER keep_events BEFORE DELETE ON outbox FOR EACH ROW
    WHEN (current_setting('fanfare.deletes', true) IS DISTINCT FROM 'by partition')
    EXECUTE FUNCTION keep_event();
