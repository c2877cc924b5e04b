"""`fanfare dlq`: the records that the worker could not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from fanfare.events.v1.events_pb2 import FeedEvent
from rich.console import Console
from rich.table import Table

from core.feed.events import REPLAYED_HEADER, UnreadableEventError, parse, user_of
from core.feed.history import Moment, OtherHistoryError
from core.settings import Settings, load_settings
from core.storage.kafka import (
    PLACE_HEADER,
    REASON_HEADER,
    client_settings,
    dead_letter_topic,
    producer_settings,
)
from fanout_worker.store import PostgresFollowerStore
from ops.feed_status import KAFKA_SECONDS

# Its committed offset says which letters have been replayed.
DLQ_GROUP = "fanfare.dlq"
# Headers that tell of the letter, not of the event.
OWN_HEADERS = {PLACE_HEADER, REASON_HEADER, REPLAYED_HEADER}


@dataclass(frozen=True)
class _Letter:
    offset: int
    place: str
    """Where the record stood: topic/partition/offset."""
    reason: str
    time: datetime
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


class _DeadLetters:
    """The dead-letter topic, which has one partition."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic
        self._place = TopicPartition(dead_letter_topic(settings.topic), 0)
        self._consumer = Consumer(
            client_settings(settings.kafka_address())
            | {"group.id": DLQ_GROUP, "enable.auto.commit": False, "log_level": 0}
        )
        # A replayed record is a hint, harmless twice and in any order. So it need not fail when
        # Kafka has forgotten the numbers by which it tells idempotent producers' records apart.
        self._producer = Producer(
            producer_settings(settings.kafka_address())
            | {"enable.idempotence": False, "log_level": 0}
        )
        self._failures: list[KafkaError] = []

    def close(self) -> None:
        self._consumer.close()

    def replayed_up_to(self) -> int:
        (place,) = self._consumer.committed([self._place], timeout=KAFKA_SECONDS)
        return max(place.offset, 0)

    def mark_replayed(self, offset: int) -> None:
        place = TopicPartition(self._place.topic, 0, offset)
        self._consumer.commit(offsets=[place], asynchronous=False)

    def letters(self) -> Iterator[_Letter]:
        """Yield all letters, oldest first; raises KafkaException when Kafka does not answer."""
        low, high = self._consumer.get_watermark_offsets(self._place, timeout=KAFKA_SECONDS)
        self._consumer.assign([TopicPartition(self._place.topic, 0, low)])
        while low < high:
            message = self._consumer.poll(KAFKA_SECONDS)
            if message is None:
                raise KafkaException("no further letter came in time")
            if (error := message.error()) is not None:
                raise KafkaException(error)
            letter = _letter(message)
            low = letter.offset + 1
            yield letter

    def resend(self, letter: _Letter, moment: Moment) -> None:
        """Send a letter to the feed again; raises UnreadableEventError. See finish()."""
        event = parse(letter.value)
        # Protobuf messages concatenate. The letter's own moment may be older than what is built
        # from Postgres must now have.
        stamp = FeedEvent(wal_position=moment.lsn, history=moment.history)
        value = letter.value + stamp.SerializeToString()
        self._producer.produce(
            self._topic,
            value,
            str(user_of(event)),
            headers=[*letter.headers, (REPLAYED_HEADER, letter.place)],
            on_delivery=self._report,
        )

    def finish(self) -> None:
        """Wait until Kafka has what was sent again; raises KafkaException if it has not."""
        undelivered = self._producer.flush(KAFKA_SECONDS)
        if self._failures:
            raise KafkaException(self._failures[0])
        if undelivered:
            raise KafkaException("it did not take the records in time")

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error)


def _letter(message: Message) -> _Letter:
    headers = message.headers() or []
    named = {header[0]: header[1] for header in headers}
    return _Letter(
        message.offset() or 0,
        _text(named.get(PLACE_HEADER)),
        _text(named.get(REASON_HEADER)),
        datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        message.value() or b"",
        [(header[0], header[1]) for header in headers if header[0] not in OWN_HEADERS],
    )


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or "?"


@click.group()
def commands() -> None:
    """List and replay the records that the worker could not read."""


@commands.command("list")
def list_letters() -> None:
    """Show each dead letter: when it came, where it stood, why it could not be read."""
    letters = _DeadLetters(load_settings())
    table = Table("time (UTC)", "place", "reason", "state", box=None)
    try:
        replayed = letters.replayed_up_to()
        for letter in letters.letters():
            state = "replayed" if letter.offset < replayed else "waiting"
            table.add_row(f"{letter.time:%F %T}", letter.place, letter.reason, state)
    except KafkaException as error:
        raise click.ClickException(f"Kafka does not answer: {error}") from error
    finally:
        letters.close()
    if table.row_count:
        Console().print(table)
    else:
        click.echo("No dead letters.")


@commands.command("replay")
@click.option(
    "--place", metavar="TOPIC/PARTITION/OFFSET", help="Only this one, as `list` shows it."
)
def replay(place: str | None) -> None:
    """Send dead letters that can be read now to the feed again, those not yet replayed.

    For after an upgrade. Always safe, whatever happened since: a replayed record only drops what
    it touches from Redis. Timelines did not need it, since all of them were dropped when the
    record was found; other consumers of the feed may.
    """
    settings = load_settings()
    letters = _DeadLetters(settings)
    store = PostgresFollowerStore(
        settings.primary_dsn(), settings.replica_dsn(), settings.silence_seconds
    )
    try:
        moment, _ = store.now()
        sent, unreadable = _resend(letters, moment, place)
    except OtherHistoryError as error:
        raise click.ClickException(str(error)) from error
    except psycopg.Error as error:
        raise click.ClickException(f"Postgres does not answer: {error}") from error
    except KafkaException as error:
        raise click.ClickException(f"Kafka does not answer: {error}") from error
    finally:
        store.close()
        letters.close()
    if place and not sent and not unreadable:
        raise click.ClickException(f"there is no dead letter from {place}: see `fanfare dlq list`")
    click.echo(f"{sent:,} dead letters replayed")
    if unreadable:
        left = "\n".join(unreadable)
        raise click.ClickException(f"this version cannot read, and leaves where they are:\n{left}")


def _resend(letters: _DeadLetters, moment: Moment, place: str | None) -> tuple[int, list[str]]:
    """Return how many letters were sent again, and what is wrong with those that were not."""
    sent, unreadable = 0, []
    begin = end = 0 if place else letters.replayed_up_to()
    for letter in letters.letters():
        if letter.offset < begin or (place and letter.place != place):
            continue
        try:
            letters.resend(letter, moment)
            sent += 1
        except UnreadableEventError as error:
            unreadable.append(f"{letter.place}: {error}")
        if not unreadable:
            end = letter.offset + 1
    letters.finish()
    # Up to the first that cannot be read yet: it, and those after it, come again next time.
    if not place and end > begin:
        letters.mark_replayed(end)
    return sent, unreadable
