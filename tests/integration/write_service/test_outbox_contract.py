"""The contract of `Outbox` in write_service/relay.py, on a real Postgres and on the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Protocol

import psycopg
import pytest
from helpers.fakes.outbox import FakeOutbox, OutboxDatabase
from helpers.postgres_server import postgres_server
from helpers.waiting import wait_until
from pydantic import SecretStr

from core.feed.history import Lsn
from core.settings import DEFAULT_RETENTION_DAYS, Settings
from core.storage.retention import DAY_SECONDS
from ops.migrate import apply_migrations
from ops.replay import resend_events
from write_service.events import user_deleted
from write_service.outbox import copy_events
from write_service.postgres_outbox import PostgresOutbox
from write_service.relay import NO_EVENTS, EventBatch, Outbox, RelayFencedError


class Database(Protocol):
    """A database whose outbox is empty, and what the tests do to it."""

    def connect(self) -> Outbox:
        """Open a session of a relay."""

    def enqueue(self, count: int) -> list[int]:
        """Commit new events and wake the relay; return their ids."""

    def sent(self) -> list[int]:
        """Return the ids of the events that are marked as sent."""

    def add_expired(self, count: int) -> None:
        """Add sent events whose retention has expired."""

    def expired(self) -> int:
        """Return how many such events there are."""

    def put_back(self) -> None:
        """Put the state of the relay back to an older one, while the server runs."""


class _FakeDatabase:
    def __init__(self) -> None:
        self._database = OutboxDatabase()

    def connect(self) -> Outbox:
        return FakeOutbox(self._database)

    def enqueue(self, count: int) -> list[int]:
        return self._database.enqueue(count)

    def sent(self) -> list[int]:
        return self._database.sent

    def add_expired(self, count: int) -> None:
        self._database.expired += count

    def expired(self) -> int:
        return self._database.expired

    def put_back(self) -> None:
        self._database.epoch -= 1


class _RealDatabase:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        with psycopg.connect(dsn) as connection:
            connection.execute("TRUNCATE outbox")

    def connect(self) -> Outbox:
        return PostgresOutbox(self._dsn)

    def enqueue(self, count: int) -> list[int]:
        with psycopg.connect(self._dsn) as connection:
            copy_events(connection, [user_deleted(7)] * count)
        return self._ids("SELECT id FROM outbox WHERE sent_at IS NULL ORDER BY id")[-count:]

    def sent(self) -> list[int]:
        return self._ids("SELECT id FROM outbox WHERE sent_at IS NOT NULL ORDER BY id")

    def add_expired(self, count: int) -> None:
        with psycopg.connect(self._dsn) as connection:
            connection.execute(
                "INSERT INTO outbox (key, type, payload, sent_at)"
                " SELECT 7, 'user.deleted', '', now() - %s * interval '1 second'"
                " FROM generate_series(1, %s)",
                (DEFAULT_RETENTION_DAYS * DAY_SECONDS + 1, count),
            )

    def expired(self) -> int:
        return len(self.sent())

    def put_back(self) -> None:
        with psycopg.connect(self._dsn) as connection:
            connection.execute("UPDATE relay_state SET epoch = epoch - 1")

    def _ids(self, query: str) -> list[int]:
        with psycopg.connect(self._dsn) as connection:
            return [row[0] for row in connection.execute(query.encode()).fetchall()]


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the DSN of a Postgres without relays."""
    with postgres_server(tmp_path_factory.mktemp("outbox")) as dsn:
        apply_migrations(dsn)
        yield dsn


@pytest.fixture(params=["real", "fake"])
def database(request: pytest.FixtureRequest) -> Database:
    """Return a database with an empty outbox."""
    return (
        _RealDatabase(request.getfixturevalue("dsn"))
        if request.param == "real"
        else (_FakeDatabase())
    )


@pytest.fixture
def outbox(database: Database) -> Iterator[Outbox]:
    """Return a session of a relay."""
    with closing(database.connect()) as outbox:
        yield outbox


def test_one_session_holds_the_relay_lock(database: Database) -> None:
    """Another one gets the lock when the first session ends."""
    with closing(database.connect()) as second:
        with closing(database.connect()) as first:
            assert first.try_lock()
            assert first.try_lock()
            assert not second.try_lock()
        wait_until(second.try_lock, "the second session has the lock")


def test_epochs_ascend(outbox: Outbox) -> None:
    """Within a history, each epoch has a higher number than the one before."""
    first, second = outbox.begin_epoch(), outbox.begin_epoch()
    assert second.number > first.number
    assert second.history == first.history


def test_unsent_events_are_fetched_in_order(database: Database, outbox: Outbox) -> None:
    """At most limit events with the lowest ids are returned, and they stay unsent."""
    ids = database.enqueue(3)
    epoch = outbox.begin_epoch()
    batch = outbox.mark_and_fetch(NO_EVENTS, 2, epoch)
    assert [event.id for event in batch.events] == ids[:2]
    assert batch.lsn > 0
    assert outbox.mark_and_fetch(NO_EVENTS, 2, epoch).events == batch.events
    assert outbox.mark_and_fetch(NO_EVENTS, 0, epoch).events == []
    assert database.sent() == []


def test_marked_events_are_not_fetched_again(database: Database, outbox: Outbox) -> None:
    """One call marks a batch and fetches the next one."""
    ids = database.enqueue(3)
    epoch = outbox.begin_epoch()
    batch = outbox.mark_and_fetch(NO_EVENTS, 2, epoch)
    batch = outbox.mark_and_fetch(batch, 2, epoch)
    assert [event.id for event in batch.events] == ids[2:]
    assert database.sent() == ids[:2]
    outbox.heartbeat(epoch)


def test_an_older_epoch_is_fenced(database: Database, outbox: Outbox) -> None:
    """Once a newer epoch has begun, the relay of the older one can mark nothing."""
    database.enqueue(1)
    old = outbox.begin_epoch()
    batch = outbox.mark_and_fetch(NO_EVENTS, 10, old)
    with closing(database.connect()) as successor:
        new = successor.begin_epoch()
        with pytest.raises(RelayFencedError):
            outbox.mark_and_fetch(batch, 10, old)
        with pytest.raises(RelayFencedError):
            outbox.heartbeat(old)
        assert database.sent() == []
        assert successor.mark_and_fetch(NO_EVENTS, 10, new).events == batch.events


@pytest.mark.parametrize("noticed_by", ["heartbeat", "mark_and_fetch"])
def test_a_database_that_was_put_back_begins_a_new_history(
    database: Database, outbox: Outbox, noticed_by: str
) -> None:
    """The relay notices that the database does not know its epoch, and is fenced."""
    database.enqueue(1)
    outbox.begin_epoch()
    epoch = outbox.begin_epoch()
    batch = outbox.mark_and_fetch(NO_EVENTS, 10, epoch)
    database.put_back()
    notice: dict[str, Callable[[], object]] = {
        "heartbeat": partial(outbox.heartbeat, epoch),
        "mark_and_fetch": partial(outbox.mark_and_fetch, batch, 10, epoch),
    }
    with pytest.raises(RelayFencedError):
        notice[noticed_by]()
    assert database.sent() == []
    assert outbox.begin_epoch().history != epoch.history


def test_an_event_that_commits_late_is_fetched(dsn: str) -> None:
    """The low-water mark waits for transactions that have drawn an id, and then rises."""
    database = _RealDatabase(dsn)
    with closing(PostgresOutbox(dsn)) as outbox, psycopg.connect(dsn) as slow:
        copy_events(slow, [user_deleted(7)])
        ids = database.enqueue(3)
        epoch = outbox.begin_epoch()
        batch = outbox.mark_and_fetch(NO_EVENTS, 10, epoch)
        for _ in range(4):
            outbox.heartbeat(epoch)
            batch = outbox.mark_and_fetch(batch, 10, epoch)
        assert database.sent() == ids
        slow.commit()
        (late,) = outbox.mark_and_fetch(batch, 10, epoch).events
        assert late.id < ids[0]
        batch = EventBatch([late], Lsn(0))
        for _ in range(4):
            batch = outbox.mark_and_fetch(batch, 10, epoch)
            outbox.heartbeat(epoch)
        assert outbox._low_water_mark.id > ids[-1]
        (again,) = database.enqueue(1)
        outbox.heartbeat(epoch)
        outbox.heartbeat(epoch)
        # Fetches nothing, as when the relay stops, and so tells nothing about what is unsent.
        outbox.mark_and_fetch(NO_EVENTS, 0, epoch)
        assert [event.id for event in outbox.mark_and_fetch(NO_EVENTS, 9, epoch).events] == [again]


def test_a_replayed_event_is_fetched_under_the_next_epoch(dsn: str) -> None:
    """It is below the low-water mark. The replay ends the epoch, which the relay notices."""
    database = _RealDatabase(dsn)
    with closing(PostgresOutbox(dsn)) as outbox:
        ids = database.enqueue(2)
        epoch = outbox.begin_epoch()
        batch = outbox.mark_and_fetch(NO_EVENTS, 10, epoch)
        for _ in range(4):
            batch = outbox.mark_and_fetch(batch, 10, epoch)
            outbox.heartbeat(epoch)
        assert outbox._low_water_mark.id > ids[-1]
        settings = Settings.model_construct(postgres_dsn=SecretStr(dsn), postgres_session_dsn=None)
        assert resend_events(settings, 1) == 2
        with pytest.raises(RelayFencedError):
            outbox.heartbeat(epoch)
        epoch = outbox.begin_epoch()
        events = outbox.mark_and_fetch(NO_EVENTS, 10, epoch).events
        assert [event.id for event in events] == ids


def test_a_commit_ends_the_wait(database: Database, outbox: Outbox) -> None:
    """A relay that listens need not wait for its whole second."""
    outbox.listen()
    database.enqueue(1)
    outbox.wait_for_events(1000)  # longer than a test may take


def test_a_purge_is_limited(database: Database, outbox: Outbox) -> None:
    """It deletes at most limit events, none that is unsent, and tells whether to go on."""
    ids = database.enqueue(1)
    database.add_expired(5)
    assert outbox.purge(3)
    assert database.expired() == 2
    assert not outbox.purge(3)
    assert database.expired() == 0
    assert [e.id for e in outbox.mark_and_fetch(NO_EVENTS, 9, outbox.begin_epoch()).events] == ids
