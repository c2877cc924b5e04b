"""When a fetch of the worker waits for more messages, against a consumer in memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fanout_worker import group_consumer
from fanout_worker.group_consumer import (
    BUSY_SECONDS,
    GATHER_SECONDS,
    LARGE_FETCH_MESSAGES,
    KafkaGroupConsumer,
)


class _Consumer:
    """Stands for librdkafka's consumer, and for the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.available: list[object] = []
        self.late: list[object] = []
        """Messages that come while a fetch waits."""
        self.waits: list[float] = []
        """The waits for more messages that took any time, in seconds."""

    def poll(self, _seconds: float) -> object | None:
        return self.available.pop(0) if self.available else None

    def consume(self, count: int, timeout: float) -> list[object]:
        if timeout:
            self.waits.append(timeout)
            self.now += timeout
            self.available += self.late
        taken, self.available = self.available[:count], self.available[count:]
        return taken


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> _Consumer:
    """Return the consumer that the group consumer gets."""
    consumer = _Consumer()
    monkeypatch.setattr(group_consumer, "Consumer", lambda _settings: consumer)
    clock = SimpleNamespace(monotonic=lambda: consumer.now)
    monkeypatch.setattr(group_consumer, "time", clock)
    return consumer


@pytest.fixture
def group(consumer: _Consumer) -> KafkaGroupConsumer:
    """Return a group consumer that has just fetched a message after a long pause."""
    group = KafkaGroupConsumer("localhost:9", "topic", 15.0)
    consumer.available = [0]
    assert _fetched(group) == [0]
    return group


def _fetched(group: KafkaGroupConsumer) -> list[object]:
    return list(group.fetch(1.0))


def test_messages_after_a_pause_are_returned_at_once(
    consumer: _Consumer, group: KafkaGroupConsumer
) -> None:
    """A message that comes alone waits for no others."""
    assert not consumer.waits
    consumer.now += 2 * BUSY_SECONDS
    consumer.available = [1, 2]
    assert _fetched(group) == [1, 2]
    assert not consumer.waits


def test_messages_in_quick_succession_are_gathered(
    consumer: _Consumer, group: KafkaGroupConsumer
) -> None:
    """While messages keep coming, a fetch includes those of the next few milliseconds."""
    consumer.available, consumer.late = [1], [2, 3]
    assert _fetched(group) == [1, 2, 3]
    assert consumer.waits == [GATHER_SECONDS]


def test_a_backlog_is_not_waited_for(consumer: _Consumer, group: KafkaGroupConsumer) -> None:
    """A worker that has a lot to do does not wait for more."""
    consumer.available = [1] * LARGE_FETCH_MESSAGES
    assert _fetched(group) == [1] * LARGE_FETCH_MESSAGES
    assert not consumer.waits


def test_an_empty_fetch_ends_with_its_timeout(
    consumer: _Consumer, group: KafkaGroupConsumer
) -> None:
    """Without a first message there is nothing to gather for."""
    assert _fetched(group) == []
    assert not consumer.waits
