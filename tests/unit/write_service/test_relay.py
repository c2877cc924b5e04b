"""The relay's decisions, against an outbox and a publisher in memory."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from helpers.fakes.outbox import FakeOutbox, OutboxDatabase

from core.runtime.metrics import METRICS, Metric
from write_service import relay as relay_module
from write_service.relay import (
    HEARTBEAT_SECONDS,
    IDLE_SECONDS,
    MARK_SECONDS,
    PURGE_INTERVAL_SECONDS,
    PURGE_ROWS,
    Epoch,
    EventBatch,
    PublishError,
    Relay,
)


class _Outbox(FakeOutbox):
    """A fake outbox of a database of its own, which can fence a relay."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__(OutboxDatabase())
        self.database.enqueue(unsent)
        self.is_taken_over = False
        """Whether another relay begins an epoch before the next marking."""

    def mark_and_fetch(self, sent: EventBatch, limit: int, epoch: Epoch) -> EventBatch:
        """Mark and fetch, perhaps after a takeover."""
        if self.is_taken_over and sent.events:
            self.is_taken_over = False
            self.database.epoch += 1
        return super().mark_and_fetch(sent, limit, epoch)


class _Publisher:
    """A `Publisher` in memory, which can fail."""

    def __init__(self, published: list[tuple[int, int]], failures: list[str]) -> None:
        self._published = published
        self._failures = failures

    def publish(self, batch: EventBatch, epoch: Epoch, _stopping: threading.Event) -> None:
        if self._failures:
            raise PublishError(self._failures.pop())
        self._published += [(epoch.number, event.id) for event in batch.events]


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class _Stopping(threading.Event):
    """Whether the relay was asked to stop; waiting for it takes no real time."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock
        self.waits: list[float] = []
        """The waits that took any time, in seconds."""

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and timeout > 0:
            self.waits.append(timeout)
            self._clock.now += timeout
        return self.is_set()


class _World:
    """A relay with its collaborators; it stops when it has nothing left to do."""

    def __init__(self, outbox: _Outbox, failures: Sequence[str] = ()) -> None:
        self.outbox = outbox
        self.clock = _Clock()
        self.connections = 0
        self.publishers = 0
        self.published: list[tuple[int, int]] = []
        """(epoch, event id)"""
        self._failures = list(failures)
        self.relay = Relay(self._connect, self._new_publisher, self.clock)
        outbox.on_idle = self.relay.request_stop

    def _connect(self) -> _Outbox:
        self.connections += 1
        return self.outbox

    def _new_publisher(self) -> _Publisher:
        self.publishers += 1
        return _Publisher(self.published, self._failures)

    def run(self) -> dict[Metric, int]:
        METRICS.take()
        self.relay.run()
        return METRICS.take()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(relay_module, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(relay_module, "IDLE_SECONDS", 0.001)
    # Otherwise the relay would retry after a failed assertion in a fake, too.
    monkeypatch.setattr(relay_module.LOG, "exception", _reraise)


def _reraise(*_: object) -> None:
    error = sys.exception()
    assert error is not None
    raise error


def test_events_are_marked_after_they_were_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """All events are published in batches, in order, under one epoch, and marked as sent."""
    monkeypatch.setattr(relay_module, "BATCH_EVENTS", 2)
    world = _World(_Outbox(unsent=5))
    world.run()
    assert world.published == [(1, number) for number in range(1, 6)]
    assert world.outbox.database.sent == [1, 2, 3, 4, 5]
    assert world.outbox.calls[-1] == "close"


@pytest.fixture
def _gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "GATHER_SECONDS", 2.0)


@pytest.mark.usefixtures("_gathering")
def test_a_small_batch_is_followed_by_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause ends GATHER_SECONDS after the batch began; the first batch needs none."""
    world = _World(_Outbox(unsent=1))
    stopping = _Stopping(world.clock)
    monkeypatch.setattr(world.relay, "_stopping", stopping)
    publish = _Publisher.publish

    def take_half_a_second(*arguments: Any) -> None:
        assert not stopping.waits
        publish(*arguments)
        world.clock.now += 0.5

    monkeypatch.setattr(_Publisher, "publish", take_half_a_second)
    world.run()
    assert stopping.waits == [1.5]
    assert world.outbox.database.sent == [1]


@pytest.mark.usefixtures("_gathering")
def test_a_large_batch_is_followed_by_the_next_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that has a backlog does not pause, nor wait for a notification."""
    monkeypatch.setattr(relay_module, "BATCH_EVENTS", 2)
    monkeypatch.setattr(relay_module, "LARGE_BATCH_EVENTS", 2)
    world = _World(_Outbox(unsent=4))
    stopping = _Stopping(world.clock)
    monkeypatch.setattr(world.relay, "_stopping", stopping)
    world.run()
    assert not stopping.waits
    assert world.outbox.waits == [relay_module.IDLE_SECONDS]
    assert world.outbox.database.sent == [1, 2, 3, 4]


def test_the_last_events_are_marked_soon() -> None:
    """A relay that has events to mark waits for others only for a short time."""
    world = _World(_Outbox(unsent=1))
    world.run()
    assert world.outbox.waits == [MARK_SECONDS, relay_module.IDLE_SECONDS]
    assert MARK_SECONDS < IDLE_SECONDS


def test_a_relay_that_is_told_to_stop_while_it_pauses_marks_what_it_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits for no other events."""
    world = _World(_Outbox(unsent=1))
    stopping = _Stopping(world.clock)
    monkeypatch.setattr(world.relay, "_stopping", stopping)
    monkeypatch.setattr(_Stopping, "wait", lambda *_: stopping.set())
    world.run()
    assert not world.outbox.waits
    assert world.outbox.database.sent == [1]


def test_nothing_is_marked_that_kafka_did_not_confirm() -> None:
    """A failed batch is published again with a new producer and a new epoch."""
    world = _World(_Outbox(unsent=3), failures=["timeout"])
    counted = world.run()
    assert world.published == [(2, 1), (2, 2), (2, 3)]
    assert world.outbox.database.sent == [1, 2, 3]
    assert (world.publishers, world.connections) == (2, 1)
    assert counted[Metric.PRODUCER_REBUILT] == 1


def test_a_fenced_relay_gives_up_the_lock_and_begins_a_new_epoch() -> None:
    """Its events stay unsent, and are published again under the next epoch."""
    outbox = _Outbox(unsent=1)
    outbox.is_taken_over = True
    world = _World(outbox)
    counted = world.run()
    assert world.published == [(1, 1), (3, 1)]
    assert outbox.database.sent == [1]
    assert world.connections == 2
    assert outbox.calls.count("close") == 2
    assert counted[Metric.RELAY_FENCED] == 1


def test_a_lost_connection_is_replaced() -> None:
    """The relay connects again, and takes the lock and an epoch again."""
    outbox = _Outbox(unsent=1)

    def lose_connection() -> None:
        outbox.on_idle = world.relay.request_stop
        raise psycopg.OperationalError("connection lost")

    world = _World(outbox)
    outbox.on_idle = lose_connection
    counted = world.run()
    assert (world.connections, outbox.database.epoch) == (2, 2)
    assert counted[Metric.RELAY_STARTED] == 2


def test_an_unexpected_error_does_not_end_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged with its traceback, and the relay starts again."""
    outbox = _Outbox(unsent=1)
    logged: list[str] = []
    monkeypatch.setattr(relay_module.LOG, "exception", logged.append)

    def fail() -> None:
        outbox.on_idle = world.relay.request_stop
        raise ValueError("a bug")

    world = _World(outbox)
    outbox.on_idle = fail
    world.run()
    assert logged == ["relay failed unexpectedly; restarting"]
    assert outbox.database.epoch == 2


def test_a_relay_without_the_lock_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries again until it holds the lock, and listens before it looks for events."""
    outbox = _Outbox(unsent=1)
    world = _World(outbox)
    another = FakeOutbox(outbox.database)
    assert another.try_lock()
    tries = iter(range(3))

    def release_after_three() -> None:
        if next(tries, None) is None:
            another.close()

    monkeypatch.setattr(world.relay.watchdog, "worked", release_after_three)
    world.run()
    assert outbox.calls[:7] == ["try_lock"] * 5 + ["listen", "begin_epoch"]
    assert world.published == [(1, 1)]


def test_stopping_marks_the_last_batch_and_fetches_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch that Kafka confirmed before the end is not published again by the next relay."""
    monkeypatch.setattr(relay_module, "BATCH_EVENTS", 2)
    world = _World(_Outbox(unsent=5))
    world.outbox.database.expired = 10**6
    purge = world.outbox.purge

    def stop_while_purging(limit: int) -> bool:
        world.relay.request_stop()
        return purge(limit)

    monkeypatch.setattr(world.outbox, "purge", stop_while_purging)
    world.run()
    assert world.published == [(1, 1), (1, 2)]
    assert world.outbox.database.sent == [1, 2]


def test_heartbeats_are_a_second_apart() -> None:
    """A heartbeat costs a write; a busy relay does not send one after each batch."""
    world = _World(_Outbox())
    steps = iter([0.5, 0.4, 0.2, 0.1])

    def advance() -> None:
        step = next(steps, None)
        if step is None:
            world.relay.request_stop()
        else:
            world.clock.now += step * HEARTBEAT_SECONDS

    world.outbox.on_idle = advance
    world.run()
    assert world.outbox.calls.count("heartbeat") == 2


def test_the_purge_goes_on_until_nothing_has_expired() -> None:
    """While expired rows are left, purges go on without a pause; then none runs for ten seconds."""
    outbox = _Outbox()
    outbox.database.expired = 3 * PURGE_ROWS - 1
    world = _World(outbox)
    pauses = iter([PURGE_INTERVAL_SECONDS - 1, 1])
    purges_when_idle: list[int] = []

    def advance() -> None:
        purges_when_idle.append(len(outbox.purge_limits))
        pause = next(pauses, None)
        if pause is None:
            world.relay.request_stop()
        else:
            world.clock.now += pause

    outbox.on_idle = advance
    world.run()
    assert purges_when_idle == [3, 3, 4]
    assert outbox.purge_limits == [PURGE_ROWS] * 4


def test_the_purge_keeps_up_with_any_rate_of_events() -> None:
    """After a large batch twice as many rows are purged as events were sent."""
    world = _World(_Outbox(unsent=PURGE_ROWS))
    world.run()
    assert world.outbox.purge_limits[0] == 2 * PURGE_ROWS


def test_a_failing_relay_tells_its_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The health of the relay says what failed."""
    world = _World(_Outbox(unsent=1), failures=["Kafka is away"])
    told: list[object] = []
    monkeypatch.setattr(world.relay.watchdog, "failed", told.append)
    world.run()
    assert [str(error) for error in told] == ["Kafka is away"]
