"""Fakes of what the worker needs of Kafka, all on one topic in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError
from fanfare.events.v1.events_pb2 import FeedEvent

from core.feed.events import UnreadableEventError, parse
from core.feed.sharding import Partition
from fanout_worker.protocols import Message, OnPartitions

TOPIC = "feed"
Headers = list[tuple[str, bytes]]


@dataclass
class FakeClock:
    """A clock that moves only when somebody waits."""

    seconds: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@dataclass(frozen=True)
class FakeMessage:
    """A record, or an error instead of one; fulfils Message."""

    at: tuple[Partition, int]
    content: bytes = b""
    with_headers: Headers = field(default_factory=list)
    with_leader_epoch: int | None = None
    with_error: KafkaError | None = None

    def topic(self) -> str:
        """See Message."""
        return TOPIC

    def partition(self) -> int:
        """See Message."""
        return self.at[0]

    def offset(self) -> int:
        """See Message."""
        return self.at[1]

    def leader_epoch(self) -> int | None:
        """See Message."""
        return self.with_leader_epoch

    def key(self) -> bytes | None:
        """See Message."""
        return None

    def value(self) -> bytes:
        """See Message."""
        return self.content

    def headers(self) -> Headers:
        """See Message."""
        return self.with_headers

    def error(self) -> KafkaError | None:
        """See Message."""
        return self.with_error


@dataclass
class FakeKafka:
    """A topic, which several workers may share."""

    topic_id: str = "topic-1"
    leader_epoch: int | None = 1
    failure: Exception | None = None
    """What the inspector and the dead-letter queue raise, as if Kafka were away."""
    log: dict[Partition, list[FakeMessage]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[Partition, int] = field(default_factory=lambda: defaultdict(int))
    """The first offset that each partition still has."""
    dead_letters: list[tuple[tuple[Partition, int], str]] = field(default_factory=list)
    """Where each unreadable record was, and the reason."""

    def send(self, number: int, record: FeedEvent | bytes, headers: Headers | None = None) -> int:
        """Append a record to a partition; return its offset."""
        partition = Partition(number)
        content = record if isinstance(record, bytes) else record.SerializeToString()
        log = self.log[partition]
        log.append(FakeMessage((partition, len(log)), content, headers or [], self.leader_epoch))
        return len(log) - 1

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def range_of(self, partition: Partition) -> tuple[int, int]:
        """Return the first offset, and the one that the next record will get."""
        return self.starts[partition], len(self.log[partition])

    def lose_newest(self, number: int, end: int) -> None:
        """Lose the records from the end offset on, as a restored older copy does."""
        del self.log[Partition(number)][end:]


class FakeGroupConsumer:
    """A member of the consumer group; fulfils GroupConsumer."""

    def __init__(self, kafka: FakeKafka, clock: FakeClock) -> None:
        self.max_messages = 5000
        self.failure: Exception | None = None
        """What the next fetch() raises."""
        self.stored: dict[Partition, int] = {}
        self.seeks: list[dict[Partition, int]] = []
        self._kafka = kafka
        self._clock = clock
        self._on_assign: OnPartitions = lambda _: None
        self._on_revoke: OnPartitions = lambda _: None
        self._assigned: set[Partition] = set()
        self._pending: list[set[Partition]] = []
        self._positions: dict[Partition, int] = {}
        self._is_disconnected = False

    def rebalance(self, *numbers: int) -> None:
        """Assign exactly these partitions to the consumer at the next poll."""
        self._pending.append({Partition(number) for number in numbers})

    def disconnect(self) -> None:
        """Lose the connection to Kafka for a moment."""
        self._is_disconnected = True

    def subscribe(self, on_assign: OnPartitions, on_revoke: OnPartitions) -> None:
        """See GroupConsumer."""
        self._on_assign, self._on_revoke = on_assign, on_revoke

    def fetch(self, timeout_seconds: float) -> Sequence[Message]:
        """See GroupConsumer."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        self._poll()
        messages = self._next()
        if not messages:
            self._clock.seconds += timeout_seconds
        return messages

    def discard(self, timeout_seconds: float) -> None:
        """See GroupConsumer."""
        self._poll()
        self._clock.seconds += timeout_seconds

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """See GroupConsumer."""
        self.seeks.append(dict(offsets))
        self._positions = dict(offsets)

    def store_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """See GroupConsumer."""
        assert offsets.keys() <= self._assigned, "Kafka refuses offsets of others' partitions"
        self.stored |= offsets

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See GroupConsumer."""
        return {partition: self._kafka.range_of(partition)[1] for partition in partitions}

    def take_disconnected(self) -> bool:
        """See GroupConsumer."""
        is_disconnected, self._is_disconnected = self._is_disconnected, False
        return is_disconnected

    def close(self) -> None:
        """See GroupConsumer."""

    def _poll(self) -> None:
        """Run the callbacks of rebalances."""
        for assigned in self._pending:
            revoked, self._assigned = self._assigned, set()
            self._positions = {}
            self._on_revoke(revoked)
            self._assigned = assigned
            self._on_assign(set(assigned))
        self._pending = []

    def _next(self) -> list[FakeMessage]:
        messages: list[FakeMessage] = []
        for partition, position in list(self._positions.items()):
            start, end = self._kafka.range_of(partition)
            if not start <= position <= end:
                del self._positions[partition]
                error = KafkaError(KafkaError._AUTO_OFFSET_RESET)
                messages.append(FakeMessage((partition, position), with_error=error))
                continue
            end = min(end, position + self.max_messages - len(messages))
            messages += self._kafka.log[partition][position:end]
            self._positions[partition] = end
        return messages


class FakeTopicInspector:
    """Fulfils TopicInspector."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka

    def topic_id(self) -> str:
        """See TopicInspector."""
        self._kafka.check()
        return self._kafka.topic_id

    def offset_ranges(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """See TopicInspector."""
        self._kafka.check()
        return {partition: self._kafka.range_of(partition) for partition in partitions}

    def event_ids(self, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """See TopicInspector."""
        self._kafka.check()
        found = {}
        for partition, offset in offsets.items():
            start, end = self._kafka.range_of(partition)
            if start <= offset < end:
                found[partition] = _event_id(self._kafka.log[partition][offset].value())
        return found


def _event_id(value: bytes) -> int:
    try:
        return parse(value).event_id
    except UnreadableEventError:
        return 0


class FakeDeadLetterQueue:
    """Fulfils DeadLetterQueue; copies are in FakeKafka once they are flushed."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka
        self._added: list[tuple[tuple[Partition, int], str]] = []

    def add(self, message: Message, reason: str) -> None:
        """See DeadLetterQueue."""
        self._added.append(((Partition(message.partition() or 0), message.offset() or 0), reason))

    def flush(self) -> None:
        """See DeadLetterQueue."""
        self._kafka.check()
        self._kafka.dead_letters += self._added
        self._added = []

    def close(self) -> None:
        """See DeadLetterQueue."""
        self._added = []
