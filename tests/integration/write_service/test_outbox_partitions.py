"""The partitions of the outbox, on a real Postgres: what they forget, and what they never lose."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from helpers.postgres_server import postgres_server
from helpers.waiting import wait_until
from psycopg import IsolationLevel

from core.storage.retention import DAY_SECONDS
from ops.migrate import apply_migrations
from write_service import outbox_partitions
from write_service.outbox_partitions import PARTITIONS
from write_service.postgres_outbox import PostgresOutbox
from write_service.relay import NO_EVENTS

RETENTION_DAYS = 10
# Less than the retention, but longer than a partition is kept after its last event was sent.
OLD_DAYS = 7
INSERT = (
    "INSERT INTO outbox (key, type, payload, created_at, sent_at)"
    " SELECT 7, 'user.deleted', '', now() - %(days)s * interval '1 day',"
    " now() - %(sent_days)s::int * interval '1 day' FROM generate_series(1, %(count)s) RETURNING id"
)
LATE = (
    "INSERT INTO outbox (slot, key, type, payload) VALUES (1, 7, 'user.deleted', '')"
    " RETURNING slot, id"
)
WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
ADD = (
    "INSERT INTO outbox (key, type, payload) SELECT 7, 'user.deleted', ''"
    " FROM generate_series(1, 5) RETURNING id"
)
# How the relay of release 0.2.0 deletes what has expired.
FORMER_PURGE = """
WITH expired AS MATERIALIZED (
    SELECT ctid AS place, sent_at FROM outbox WHERE sent_at < now() - interval '1 day'
    ORDER BY sent_at LIMIT 1000 FOR UPDATE SKIP LOCKED
),
purged AS (DELETE FROM outbox WHERE ctid = ANY(ARRAY(SELECT place FROM expired)))
SELECT count(*) FROM expired
"""


class Database:
    """A database with an outbox, and no relay but that of the test."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.sql("TRUNCATE outbox")
        self.fill(1)

    def sql(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def add(self, count: int, days: int = 0, *, sent: bool = True) -> list[int]:
        """Add events, of this age and sent at once or not at all; return their ids."""
        sent_days = days if sent else None
        return [row[0] for row in self.sql(INSERT, days=days, sent_days=sent_days, count=count)]

    def fill(self, slot: int) -> None:
        """Have new events get into this partition."""
        self.sql("SELECT setval('outbox_slot_sequence', %(slot)s)", slot=slot)

    def filling(self) -> int:
        """Return which partition new events get into."""
        return int(self.sql("SELECT last_value FROM outbox_slot_sequence")[0][0])

    def events(self) -> list[tuple[int, int]]:
        """Return the partition and the id of each event."""
        return self.sql("SELECT slot, id FROM outbox ORDER BY id")

    def sizes(self) -> list[int]:
        """Return the size of each partition and its indexes: three empty ones have a page each."""
        names = "SELECT pg_total_relation_size(('outbox_' || n)::regclass)"
        return [row[0] for row in self.sql(f"{names} FROM generate_series(0, 3) AS n ORDER BY n")]

    @contextmanager
    def held(self, statement: str) -> Iterator[psycopg.Connection[Any]]:
        """Run a statement in a transaction, with a snapshot that it holds until the end."""
        with psycopg.connect(self.dsn) as connection:
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.execute(statement.encode())
            yield connection


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the DSN of a Postgres without relays."""
    with postgres_server(tmp_path_factory.mktemp("partitions")) as dsn:
        apply_migrations(dsn)
        yield dsn


@pytest.fixture
def database(dsn: str) -> Database:
    """Return a database with an empty outbox, of which the second partition is filled."""
    return Database(dsn)


@pytest.fixture
def outbox(dsn: str) -> Iterator[PostgresOutbox]:
    """Return a session of a relay."""
    with closing(PostgresOutbox(dsn, retention_days=RETENTION_DAYS)) as outbox:
        yield outbox


def test_an_expired_partition_is_emptied_beside_a_held_snapshot(
    database: Database, outbox: PostgresOutbox
) -> None:
    """The space is free at once, although somebody could still see the events."""
    database.add(1000, OLD_DAYS)
    with database.held("SELECT FROM users"):
        assert not outbox.purge(10)
        # Nothing is removed from the partition that is being filled, but the next one is begun.
        assert (database.filling(), len(database.events())) == (2, 1000)
        (new,) = database.add(1)
        assert not outbox.purge(10)
        assert database.events() == [(2, new)]
        empty, emptied, *_ = database.sizes()
        assert emptied == empty


def test_partitions_take_turns(database: Database, outbox: PostgresOutbox) -> None:
    """One is filled for a fifth of the retention, and emptied before its turn comes again."""
    turns, kept = [], []
    for _ in range(2 * PARTITIONS):
        database.add(1)
        database.sql(
            "UPDATE outbox SET created_at = created_at - interval '2.1 days',"
            " sent_at = sent_at - interval '2.1 days'"
        )
        outbox.purge(10)
        turns.append(database.filling())
        kept.append(len(database.events()))
    assert turns == [2, 3, 0, 1] * 2
    assert kept == [1] + [2] * 7


def test_an_unsent_event_keeps_its_partition(database: Database, outbox: PostgresOutbox) -> None:
    """However old it is. Once it is sent, it stays for as long as any other."""
    database.add(3, OLD_DAYS)
    (unsent,) = database.add(1, 10 * RETENTION_DAYS, sent=False)
    for _ in range(3):
        outbox.purge(10)
    assert (len(database.events()), database.filling()) == (4, 2)
    batch = outbox.mark_and_fetch(NO_EVENTS, 10, epoch := outbox.begin_epoch())
    assert [event.id for event in batch.events] == [unsent]
    outbox.mark_and_fetch(batch, 0, epoch)
    outbox.purge(10)
    assert len(database.events()) == 4


def test_no_partition_with_events_is_filled_again(
    database: Database, outbox: PostgresOutbox
) -> None:
    """Events go on into the present one, however old its first event is."""
    database.fill(2)
    database.add(1, OLD_DAYS, sent=False)
    database.fill(1)
    database.add(1, OLD_DAYS)
    for _ in range(3):
        outbox.purge(10)
    assert database.filling() == 1
    assert len(database.events()) == 2


def test_events_that_expire_before_their_partition_are_deleted(
    database: Database, outbox: PostgresOutbox
) -> None:
    """Here because a later event of the partition was never sent, and then of the present one."""
    database.add(5, RETENTION_DAYS + 1)
    unsent = database.add(1, RETENTION_DAYS + 1, sent=False)
    database.fill(2)
    database.add(5, RETENTION_DAYS + 1)
    kept = database.add(1, OLD_DAYS)
    while outbox.purge(3):
        pass
    assert [event for _, event in database.events()] == [*unsent, *kept]


def test_an_event_that_is_not_committed_keeps_its_partition(
    database: Database, outbox: PostgresOutbox
) -> None:
    """Its transaction began when the partition was filled; the purge goes on without it."""
    database.add(3, OLD_DAYS)
    with psycopg.connect(database.dsn) as slow:
        slow.execute("INSERT INTO outbox (key, type, payload) VALUES (7, 'user.deleted', '')")
        database.fill(2)
        assert not outbox.purge(10)
        assert len(database.events()) == 3
    outbox.purge(10)
    assert len(database.events()) == 4


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_an_event_that_is_committed_before_the_lock_keeps_its_partition(
    database: Database, outbox: PostgresOutbox, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    """The partition is looked at once more under the lock, whatever the isolation level."""
    outbox._connection.execute(f"SET default_transaction_isolation = '{isolation}'".encode())
    for name, setting in (("limit_lock_wait", "lock"), ("limit_statement", "statement")):
        monkeypatch.setitem(outbox_partitions.SQL, name, f"SET LOCAL {setting}_timeout = '60s'")
    database.add(3, OLD_DAYS)
    database.fill(2)
    with ThreadPoolExecutor() as pool, psycopg.connect(database.dsn) as late:
        late.execute(LATE)
        purging = pool.submit(outbox.purge, 10)
        wait_until(lambda: database.sql(WAITING), "the purge waits for the lock")
        late.commit()
        purging.result()
    assert [slot for slot, _ in database.events()] == [1] * 4


def test_a_reader_keeps_its_partition_and_nobody_waits_for_it(
    database: Database, outbox: PostgresOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Events are added, fetched and marked while somebody reads the outbox for long."""
    database.add(3, OLD_DAYS)
    database.fill(2)
    with database.held("SELECT FROM outbox"):
        assert not outbox.purge(10)
        assert "canceling statement due to lock timeout" in caplog.text
        (new,) = database.add(1, sent=False)
        batch = outbox.mark_and_fetch(NO_EVENTS, 10, epoch := outbox.begin_epoch())
        assert [event.id for event in batch.events] == [new]
        outbox.mark_and_fetch(batch, 0, epoch)
        assert len(database.events()) == 4
    outbox.purge(10)
    assert database.events() == [(2, new)]


def test_a_replay_keeps_the_partitions_of_its_events(
    database: Database, outbox: PostgresOutbox
) -> None:
    """Both while it goes on and until its events are sent again."""
    database.add(3, OLD_DAYS)
    database.fill(2)
    with psycopg.connect(database.dsn) as replay:
        replay.execute("UPDATE outbox SET sent_at = NULL, first_sent_at = sent_at")
        outbox.purge(10)
    outbox.purge(10)
    batch = outbox.mark_and_fetch(NO_EVENTS, 10, epoch := outbox.begin_epoch())
    assert len(batch.events) == 3
    outbox.mark_and_fetch(batch, 0, epoch)
    outbox.purge(10)
    assert database.events() == []


def test_no_event_is_lost_while_partitions_take_turns(dsn: str, database: Database) -> None:
    """With a retention of two seconds, four threads add events that a relay sends and purges."""
    added: list[list[int]] = [[], [], [], []]
    stopping = threading.Event()

    def add(ids: list[int]) -> None:
        with psycopg.connect(dsn) as connection:
            while not stopping.is_set():
                rows = connection.execute(ADD)
                batch = [row[0] for row in rows]
                connection.commit()
                ids += batch

    sent: list[int] = []
    turns: list[int] = []
    with (
        closing(PostgresOutbox(dsn, retention_days=2 / DAY_SECONDS)) as outbox,
        ThreadPoolExecutor() as pool,
    ):
        adding = [pool.submit(add, ids) for ids in added]
        epoch = outbox.begin_epoch()
        batch = NO_EVENTS
        for number in itertools.count():
            batch = outbox.mark_and_fetch(batch, 1000, epoch)
            sent += [event.id for event in batch.events]
            outbox.purge(10_000)
            if number % 10 == 0:
                outbox.heartbeat(epoch)
            if (filling := database.filling()) not in turns[-1:]:
                turns.append(filling)
            if len(turns) > PARTITIONS:
                stopping.set()
            if not batch.events and all(future.done() for future in adding):
                break
        for future in adding:
            future.result()
    assert sorted(sent) == sorted(itertools.chain(*added))
    for ids in added:
        order = {event: place for place, event in enumerate(sent)}
        assert [order[event] for event in ids] == sorted(order[event] for event in ids)


def test_the_purge_of_the_former_release_deletes_nothing(database: Database) -> None:
    """It would delete what has the places of expired events in any partition."""
    database.add(3, OLD_DAYS)
    database.fill(2)
    database.add(3, sent=False)
    assert database.sql(FORMER_PURGE) == [(3,)]
    assert len(database.events()) == 6
