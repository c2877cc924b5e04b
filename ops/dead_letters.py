"""Dead letters: the records that a worker could not read.

The worker copies each such record to the dead-letter topic, with its place in the feed (the topic
of events) and the reason why it could not be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from core.feed.events import (
    HISTORY_HEADER,
    REPLAYED_HEADER,
    KafkaRecord,
    UnreadableEventError,
    change_of,
    decode,
)
from core.feed.history import Moment
from core.settings import Settings
from core.storage.kafka import (
    PLACE_HEADER,
    REASON_HEADER,
    REPLAY_GROUP,
    client_settings,
    dead_letter_topic,
    producer_settings,
)
from fanout_worker.store import PostgresFollowerStore
from ops.failures import failures_as_ops_errors
from ops.feed_status import KAFKA_SECONDS

# Headers that describe the dead letter, not the event in it.
LETTER_HEADERS = {PLACE_HEADER, REASON_HEADER, REPLAYED_HEADER}


@dataclass(frozen=True)
class DeadLetter:
    """A record that a worker could not read."""

    offset: int
    """Its offset in the dead-letter topic."""
    place: str
    """Where it was in the feed: TOPIC/PARTITION/OFFSET."""
    reason: str
    """Why it could not be read."""
    time: datetime
    value: bytes
    headers: list[tuple[str, str | bytes | None]]
    """The headers of the event."""
    is_replayed: bool


@dataclass(frozen=True)
class ReplayResult:
    """The outcome of a replay."""

    sent: int
    unreadable: list[str]
    """For each letter that this version cannot read either: its place and the reason."""


@failures_as_ops_errors()
def list_dead_letters(settings: Settings) -> list[DeadLetter]:
    """Return all dead letters, oldest first.

    Raises:
        OpsError: Kafka does not answer.
    """
    with closing(DeadLetterTopic(settings)) as topic:
        return list(topic.letters())


@failures_as_ops_errors()
def replay_dead_letters(settings: Settings, place: str | None) -> ReplayResult:
    """Send the dead letters that this version can read to the feed again.

    Args:
        settings: where Postgres and Kafka are.
        place: the place of the one letter to send, even if it was replayed before; None for all
            letters that have not been replayed.

    Raises:
        OpsError: a server does not answer, or the database has no valid history yet.
    """
    store = PostgresFollowerStore(
        settings.primary_dsn(), settings.replica_dsn(), settings.silence_seconds
    )
    with closing(store), closing(DeadLetterTopic(settings)) as topic:
        moment, _ = store.now()
        return replay_letters(topic, moment, place)


def replay_letters(topic: DeadLetterTopic, moment: Moment, place: str | None) -> ReplayResult:
    """Replay letters as replay_dead_letters() does, and remember which have been replayed."""
    sent, unreadable = 0, []
    replayed_end = 0
    for letter in topic.letters():
        if letter.is_replayed if place is None else letter.place != place:
            continue
        try:
            topic.resend(letter, moment)
            sent += 1
        except UnreadableEventError as error:
            unreadable.append(f"{letter.place}: {error}")
        if not unreadable:
            replayed_end = letter.offset + 1
    topic.flush()
    # Only up to the first letter that cannot be read. The next replay begins with that letter.
    if place is None and replayed_end:
        topic.mark_replayed(replayed_end)
    return ReplayResult(sent, unreadable)


class DeadLetterTopic:
    """The dead-letter topic, which has one partition, and a producer that sends to the feed."""

    def __init__(self, settings: Settings) -> None:
        self._feed_topic = settings.topic
        self._topic = dead_letter_topic(settings.topic)
        self._consumer = Consumer(
            client_settings(settings.kafka_address())
            | {"group.id": REPLAY_GROUP, "enable.auto.commit": False, "log_level": 0}
        )
        # Not idempotent: a replayed record does no harm if it arrives twice or out of order. An
        # idempotent producer would fail if Kafka had lost the state of its producers.
        self._producer = Producer(
            producer_settings(settings.kafka_address())
            | {"enable.idempotence": False, "log_level": 0}
        )
        self._failures: list[KafkaError] = []

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def letters(self) -> Iterator[DeadLetter]:
        """Yield all letters, oldest first.

        Raises:
            KafkaException: Kafka does not answer.
        """
        partition = TopicPartition(self._topic, 0)
        (committed,) = self._consumer.committed([partition], timeout=KAFKA_SECONDS)
        low, high = self._consumer.get_watermark_offsets(partition, timeout=KAFKA_SECONDS)
        self._consumer.assign([TopicPartition(self._topic, 0, low)])
        while low < high:
            message = self._consumer.poll(KAFKA_SECONDS)
            if message is None:
                raise KafkaException(f"no record of {self._topic} came in {KAFKA_SECONDS:.0f} s")
            if (error := message.error()) is not None:
                raise KafkaException(error)
            letter = _decode(message, replayed_end=committed.offset)
            low = letter.offset + 1
            yield letter

    def mark_replayed(self, end: int) -> None:
        """Remember that the letters before this offset have been replayed."""
        partition = TopicPartition(self._topic, 0, end)
        self._consumer.commit(offsets=[partition], asynchronous=False)

    def resend(self, letter: DeadLetter, moment: Moment) -> None:
        """Send a letter to the feed again; flush() waits until Kafka has it.

        Raises:
            UnreadableEventError: this version cannot read it either.
        """
        value, key, headers = replayed_record(letter, moment)
        self._producer.produce(
            self._feed_topic, value, key, headers=headers, on_delivery=self._note_failure
        )

    def flush(self) -> None:
        """Wait until Kafka has everything that was sent again.

        Raises:
            KafkaException: Kafka has not accepted all of it.
        """
        undelivered = self._producer.flush(KAFKA_SECONDS)
        if self._failures:
            raise KafkaException(self._failures[0])
        if undelivered:
            raise KafkaException(
                f"it did not accept the replayed records within {KAFKA_SECONDS:.0f} s"
            )

    def _note_failure(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error)


def replayed_record(letter: DeadLetter, moment: Moment) -> KafkaRecord:
    """Return the record of a letter that is sent again.

    Raises:
        UnreadableEventError: this version cannot read it either.
    """
    event = decode(letter.value)
    key = str(change_of(event).user_id)
    # The LSN in the letter is too low: what is read from Postgres after the replay must not be
    # older than it.
    event.wal_position = moment.lsn
    event.history = moment.history
    # The epoch may be of a former history, and then be above all epochs of this one: consumers
    # would take the relay for a replaced one, and skip all that it sends.
    event.ClearField("relay_epoch")
    headers: list[tuple[str, str | bytes | None]] = [
        (name, moment.history if name == HISTORY_HEADER else value)
        for name, value in letter.headers
    ]
    return event.SerializeToString(), key, [*headers, (REPLAYED_HEADER, letter.place)]


def _decode(message: Message, replayed_end: int) -> DeadLetter:
    headers = message.headers() or []
    named = {header[0]: header[1] for header in headers}
    offset = message.offset() or 0
    return DeadLetter(
        offset,
        _text(named.get(PLACE_HEADER)),
        _text(named.get(REASON_HEADER)),
        datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        message.value() or b"",
        [(header[0], header[1]) for header in headers if header[0] not in LETTER_HEADERS],
        is_replayed=offset < replayed_end,
    )


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or "?"
