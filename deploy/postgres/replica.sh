#!/usr/bin/env bash
# Starts the streaming replica: copies the primary unless there is a copy, then follows it.
# PGPASSWORD is the replicator's password; libpq reads it here and in the server's WAL receiver,
# so that no copy of it lies on the disk. The arguments go to `postgres`.
set -Eeuo pipefail

primary="host=postgres user=replicator application_name=postgres-replica"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # A copy that was broken off must not pass for a database: it gets its name when it is whole.
    rm -rf "$PGDATA.partial"
    mkdir -p "$(dirname "$PGDATA")"
    pg_basebackup --dbname="$primary" --no-password --checkpoint=fast --pgdata="$PGDATA.partial"
    touch "$PGDATA.partial/standby.signal"
    mv --no-target-directory "$PGDATA.partial" "$PGDATA"
fi

exec postgres -c primary_conninfo="$primary" "$@"
