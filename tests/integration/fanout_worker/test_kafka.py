"""The contracts of TopicInspector, GroupConsumer and DeadLetterQueue, for Kafka and the fakes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # theirs
from helpers.fakes.worker_events import created
from helpers.fakes.worker_kafka import (
    TOPIC,
    FakeClock,
    FakeDeadLetterQueue,
    FakeGroupConsumer,
    FakeKafka,
    FakeMessage,
    FakeTopicInspector,
)
from helpers.fanfare import Fanfare

from core.feed.sharding import Partition
from core.storage.kafka import PLACE_HEADER, REASON_HEADER, dead_letter_topic
from fanout_worker.dead_letters import KafkaDeadLetterQueue
from fanout_worker.group_consumer import KafkaGroupConsumer
from fanout_worker.protocols import DeadLetterQueue, GroupConsumer, Message, TopicInspector
from fanout_worker.topic import KafkaTopicInspector

WAIT_SECONDS = 30.0
UNREADABLE = b"not an event"
P0, P1 = Partition(0), Partition(1)


@dataclass
class Case:
    """A topic with two partitions, and what the worker uses to read it."""

    inspector: TopicInspector
    group: GroupConsumer
    dead_letters: DeadLetterQueue
    send: Callable[[int, bytes], None]
    """Append a record to a partition."""
    delete_before: Callable[[int, int], None]
    """Delete a partition's records below an offset."""
    letters: Callable[[], list[tuple[str, str]]]
    """Return the dead letters: where each record was, and the reason."""
    topic: str
    assigned: set[Partition] = field(default_factory=set)

    def join(self) -> None:
        """Join the group, and wait for the partitions."""

        def revoke(partitions: set[Partition]) -> None:
            self.assigned -= partitions

        self.group.subscribe(self.assigned.update, revoke)
        deadline = time.monotonic() + WAIT_SECONDS
        while self.assigned != {P0, P1}:
            assert time.monotonic() < deadline, "no partitions were assigned"
            self.group.discard(0.1)

    def fetch(self, count: int) -> list[Message]:
        """Return the next messages, at least this many."""
        messages: list[Message] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while len(messages) < count:
            assert time.monotonic() < deadline, f"only {len(messages)} messages came"
            messages += self.group.fetch(0.1)
        return messages


@pytest.fixture(params=["kafka", "fake"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """Return a case for each kind of Kafka, with a topic of its own."""
    if request.param == "fake":
        yield _fake_case()
        return
    fanfare: Fanfare = request.getfixturevalue("fanfare")
    yield from _kafka_case(fanfare.settings.kafka_address())


def _fake_case() -> Case:
    kafka = FakeKafka()
    group = FakeGroupConsumer(kafka, FakeClock())
    group.rebalance(0, 1)

    def send(number: int, value: bytes) -> None:
        kafka.send(number, value)

    def delete_before(number: int, offset: int) -> None:
        kafka.starts[Partition(number)] = offset

    def letters() -> list[tuple[str, str]]:
        return [(f"{TOPIC}/{p}/{offset}", reason) for (p, offset), reason in kafka.dead_letters]

    inspector, queue = FakeTopicInspector(kafka), FakeDeadLetterQueue(kafka)
    return Case(inspector, group, queue, send, delete_before, letters, TOPIC)


def _kafka_case(address: str) -> Iterator[Case]:
    topic = f"contract-{uuid.uuid4().hex}"
    client: dict[str, str | int | float | bool] = {"bootstrap.servers": address}
    admin, producer = AdminClient(client), Producer(client)
    names = [topic, dead_letter_topic(topic)]
    for created_topic in admin.create_topics(
        [NewTopic(topic, 2, 1), NewTopic(dead_letter_topic(topic), 1, 1)]
    ).values():
        created_topic.result(WAIT_SECONDS)
    # A group without offsets would report that first, perhaps even after a seek.
    committer = Consumer(client | {"group.id": topic})
    committer.commit(
        offsets=[TopicPartition(topic, number, 0) for number in (0, 1)], asynchronous=False
    )
    committer.close()

    def send(number: int, value: bytes) -> None:
        producer.produce(topic, value, partition=number)
        assert producer.flush(WAIT_SECONDS) == 0

    def delete_before(number: int, offset: int) -> None:
        (done,) = admin.delete_records([TopicPartition(topic, number, offset)]).values()
        done.result(WAIT_SECONDS)

    def letters() -> list[tuple[str, str]]:
        consumer = Consumer(client | {"group.id": topic, "auto.offset.reset": "earliest"})
        place = TopicPartition(dead_letter_topic(topic), 0, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=WAIT_SECONDS)
        consumer.assign([place])
        found = []
        for message in consumer.consume(end, timeout=WAIT_SECONDS) if end else []:
            headers = dict(message.headers() or [])
            place_header, reason = headers[PLACE_HEADER], headers[REASON_HEADER]
            assert isinstance(place_header, bytes)
            assert isinstance(reason, bytes)
            found.append((place_header.decode(), reason.decode()))
        consumer.close()
        return found

    group = KafkaGroupConsumer(address, topic, 5.0, group=topic)
    queue = KafkaDeadLetterQueue(address, topic)
    inspector = KafkaTopicInspector(address, topic)
    yield Case(inspector, group, queue, send, delete_before, letters, topic)
    group.close()
    queue.close()
    for deleted in admin.delete_topics(names).values():
        deleted.result(WAIT_SECONDS)


def _event(event_id: int) -> bytes:
    return created(event_id, 1).SerializeToString()


class TestTopicInspector:
    """What every TopicInspector must do."""

    def test_ranges_end_after_the_last_record(self, case: Case) -> None:
        """An empty partition starts and ends at 0."""
        case.send(0, _event(100))
        case.send(0, _event(101))
        assert case.inspector.offset_ranges([P0, P1]) == {P0: (0, 2), P1: (0, 0)}
        case.delete_before(0, 1)
        assert case.inspector.offset_ranges([P0]) == {P0: (1, 2)}

    def test_event_ids_are_of_the_records_at_the_offsets(self, case: Case) -> None:
        """An unreadable record has the id 0; a deleted one is left out."""
        for value in (_event(100), _event(101), UNREADABLE):
            case.send(0, value)
        case.send(1, _event(200))
        assert case.inspector.event_ids({P0: 1, P1: 0}) == {P0: 101, P1: 200}
        assert case.inspector.event_ids({P0: 2}) == {P0: 0}
        case.delete_before(0, 1)
        assert case.inspector.event_ids({P0: 0, P1: 0}) == {P1: 200}

    def test_the_topic_keeps_its_id(self, case: Case) -> None:
        """A new record does not change the topic's id."""
        before = case.inspector.topic_id()
        case.send(0, _event(100))
        assert case.inspector.topic_id() == before


class TestGroupConsumer:
    """What every GroupConsumer must do."""

    def test_consuming_starts_where_it_seeks(self, case: Case) -> None:
        """Only the partitions that are sought are consumed, from their offsets on."""
        for event_id in (100, 101, 102):
            case.send(0, _event(event_id))
        case.send(1, _event(200))
        case.join()
        case.group.seek({P0: 1, P1: 0})
        found = {(m.partition(), m.offset(), m.value()) for m in case.fetch(3)}
        assert found == {(0, 1, _event(101)), (0, 2, _event(102)), (1, 0, _event(200))}
        case.group.seek({P0: 2})
        assert [(m.partition(), m.offset()) for m in case.fetch(1)] == [(0, 2)]
        case.group.store_offsets({P0: 3})

    def test_an_offset_that_kafka_lacks_is_reported(self, case: Case) -> None:
        """Consuming must not continue elsewhere by itself."""
        for event_id in (100, 101):
            case.send(0, _event(event_id))
        case.delete_before(0, 1)
        case.join()
        case.group.seek({P0: 0})
        (message,) = case.fetch(1)
        error = message.error()
        assert error is not None
        assert (error.code(), message.partition()) == (KafkaError._AUTO_OFFSET_RESET, 0)

    def test_a_working_connection_is_not_reported_as_broken(self, case: Case) -> None:
        """For each reported break the worker loads all checkpoints again."""
        case.join()
        assert not case.group.take_disconnected()


class TestDeadLetterQueue:
    """What every DeadLetterQueue must do."""

    def test_flushed_records_are_kept_with_reason_and_place(self, case: Case) -> None:
        """With reason and place, dead letters can be found, and sent again."""
        case.dead_letters.add(FakeMessage((P1, 7), UNREADABLE), "first")
        case.dead_letters.add(FakeMessage((P0, 8), UNREADABLE), "second")
        case.dead_letters.flush()
        assert case.letters() == [(f"{TOPIC}/1/7", "first"), (f"{TOPIC}/0/8", "second")]

    def test_a_closed_queue_can_be_used_again(self, case: Case) -> None:
        """The worker closes it after each failure, and adds the records once more."""
        case.dead_letters.flush()
        case.dead_letters.close()
        case.dead_letters.add(FakeMessage((P1, 7), UNREADABLE), "again")
        case.dead_letters.flush()
        assert case.letters() == [(f"{TOPIC}/1/7", "again")]
