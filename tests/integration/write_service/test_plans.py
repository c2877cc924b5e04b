"""How Postgres finds the rows of the statements that each tweet needs."""

from __future__ import annotations

from contextlib import closing

import psycopg
from helpers.fanfare import Fanfare
from psycopg.rows import TupleRow, scalar_row

from core.storage.queries import load_queries
from write_service.outbox_partitions import PARTITIONS
from write_service.postgres_outbox import PostgresOutbox

SQL = load_queries("write_service")


def _plan(connection: psycopg.Connection[TupleRow], statement: str) -> str:
    """Return the plan of a statement, as Postgres shows it."""
    cursor = connection.cursor(row_factory=scalar_row)
    return "\n".join(cursor.execute(f"EXPLAIN {statement}".encode()))


def test_authors_are_looked_up_by_the_index(fanfare: Fanfare) -> None:
    """Locking the authors of some tweets does not read the whole table of users."""
    with psycopg.connect(fanfare.settings.primary_dsn()) as connection:
        connection.execute(
            "INSERT INTO users (username) SELECT 'planned' || n FROM generate_series(1, 1000) AS n"
        )
        connection.execute("ANALYZE users")
        connection.execute(SQL["use_generic_plans"])
        connection.execute(f"PREPARE lock_authors AS {SQL['lock_authors']}".encode())
        plan = _plan(connection, "EXECUTE lock_authors ('{1}', '{0}', 0, 1)")
        connection.rollback()
    assert "Index Scan using users_pkey" in plan
    assert "Seq Scan on users" not in plan


def test_unsent_events_are_read_by_a_plain_index_scan(fanfare: Fanfare) -> None:
    """Only this kind of scan notes which index entries are dead, and skips them afterwards."""
    with closing(PostgresOutbox(fanfare.settings.primary_dsn())) as outbox:
        statement = SQL["unsent_events"].replace("%(limit)s", "10000")
        statement = statement.replace("%(low_water_mark)s", "0")
        plan = _plan(outbox._connection, statement)
    names = ["outbox_unsent_idx", *(f"outbox_{slot}_id_idx" for slot in range(1, PARTITIONS))]
    assert all(f"->  Index Scan using {name}" in plan for name in names)
    assert "Sort Key" in plan.partition("Index Scan")[0]  # of the merge, which sorts nothing
    assert "Sort " not in plan.partition("Sort Key")[0]
