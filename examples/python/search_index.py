"""Keeps a search index of tweets that follows the topic, and searches it.

    python search_index.py index.db                  # follow the topic until Ctrl-C
    python search_index.py index.db --until-end      # read what is there, and end
    python search_index.py index.db --search hello   # the newest tweets with the word

The index is an SQLite database. Four rules keep it right although records come at least once:

1. The offset of the next record is stored in the transaction that stores the effect of the records
   before it. After a crash the consumer begins where the index is, not where it was told to begin.
2. An effect is a state ("this tweet has this text in version 3") and not a step ("add a tweet"). A
   record that comes again, or an older version after a newer one, changes nothing. So it does not
   matter whether a ce_id was seen before.
3. A record that a replaced relay still sent is skipped: it is out of order, and its successor has
   sent the event again.
4. A record that is not an event of the feed changes nothing, not even which history is the newest.
   Neither does a dead letter that was sent again: it is out of order, and its epoch is no relay's.

If the topic no longer has the records behind the stored offsets, the program ends: what the index
lacks does not come again, so it must be built again in a new file.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1.events_pb2 import FeedEvent
from google.protobuf.message import DecodeError

TOPIC = "fanfare.feed.v1"
# The header of a dead letter that `fanfare dlq replay` sent again.
REPLAYED_HEADER = "replayed"
BATCH = 1000
WAIT_SECONDS = 1.0
# A deletion counts as newer than every version. The row stays, so that an older record that comes
# again does not bring the tweet back.
DELETED = 2**62

SCHEMA = """
CREATE TABLE IF NOT EXISTS tweets (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    history TEXT NOT NULL,
    version INTEGER NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5 (content);
CREATE TABLE IF NOT EXISTS partitions (
    number INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL,
    history TEXT NOT NULL,
    relay_epoch INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS ended_histories (
    number INTEGER,
    history TEXT,
    PRIMARY KEY (number, history)
);
"""
# Versions can be compared within one history of the database only. A record of another history is
# newer than what is here, because records of ended histories are skipped.
PUT = """
INSERT INTO tweets VALUES (:id, :user_id, :history, :version)
ON CONFLICT (id) DO UPDATE SET history = excluded.history, version = excluded.version
WHERE excluded.history <> history OR excluded.version > version
"""


class SkippedRecordError(ValueError):
    """A record is not an event that the index follows; the text says why."""


class LostRecordsError(Exception):
    """The topic does not have the records that come next."""


class Index:
    """The search index, and how far in the topic it has come."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def next_offset(self, partition: int) -> int:
        """Return the offset at which a partition has to be read on."""
        row = self._partition(partition)
        return row[0] if row else OFFSET_BEGINNING

    def apply(self, messages: Iterable[Message]) -> None:
        """Store the effects of records and the offsets behind them, all or nothing."""
        with self._transaction():
            for message in messages:
                self._apply(message)

    def search(self, words: str) -> list[tuple[int, int, str]]:
        """Return id, author and text of the newest tweets that match words, in FTS5's syntax."""
        found = self._database.execute(
            "SELECT id, user_id, content FROM texts JOIN tweets ON id = texts.rowid"
            " WHERE texts MATCH ? ORDER BY id DESC LIMIT 20",
            (words,),
        )
        return list(found)

    def _apply(self, message: Message) -> None:
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None  # noqa: S101 - a record that was received has both
        assert offset is not None  # noqa: S101
        try:
            event = read_event(value or b"", dict(message.headers() or ()))
        except SkippedRecordError as error:
            print(f"skipped {message.topic()}/{partition}/{offset}: {error}", file=sys.stderr)
        else:
            if self._is_current(partition, event):
                self._put_change(event)
        self._database.execute(
            "INSERT INTO partitions VALUES (?, ?, '', 0)"
            " ON CONFLICT (number) DO UPDATE SET next_offset = excluded.next_offset",
            (partition, offset + 1),
        )

    def _is_current(self, partition: int, event: FeedEvent) -> bool:
        """Return whether a record is of the newest relay of the newest history of its partition."""
        execute = self._database.execute
        _, history, relay_epoch = self._partition(partition) or (0, "", 0)
        if event.history == history:
            if event.relay_epoch < relay_epoch:
                return False
        else:
            ended = "SELECT 1 FROM ended_histories WHERE number = ? AND history = ?"
            if execute(ended, (partition, event.history)).fetchone():
                return False
            execute("INSERT INTO ended_histories VALUES (?, ?)", (partition, history))
        execute(
            "INSERT INTO partitions VALUES (?, 0, ?, ?) ON CONFLICT (number)"
            " DO UPDATE SET history = excluded.history, relay_epoch = excluded.relay_epoch",
            (partition, event.history, event.relay_epoch),
        )
        return True

    def _put_change(self, event: FeedEvent) -> None:
        match event.WhichOneof("event"):
            case "tweet_created":
                self._put(event, event.tweet_created.tweet, 1)
            case "tweet_updated":
                self._put(event, event.tweet_updated.tweet, event.tweet_updated.version)
            case "tweet_deleted":
                gone = event.tweet_deleted
                self._put(event, Tweet(id=gone.tweet_id, user_id=gone.user_id), DELETED)
            # Follows do not matter here, and the tweets of a deleted user are deleted one by one.

    def _put(self, event: FeedEvent, tweet: Tweet, version: int) -> None:
        row = {"id": tweet.id, "user_id": tweet.user_id, "history": event.history}
        if self._database.execute(PUT, row | {"version": version}).rowcount:
            self._database.execute("DELETE FROM texts WHERE rowid = ?", (tweet.id,))
            if version != DELETED:
                self._database.execute(
                    "INSERT INTO texts (rowid, content) VALUES (?, ?)", (tweet.id, tweet.content)
                )

    def _partition(self, number: int) -> tuple[int, str, int] | None:
        row: tuple[int, str, int] | None = self._database.execute(
            "SELECT next_offset, history, relay_epoch FROM partitions WHERE number = ?", (number,)
        ).fetchone()
        return row

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def read_event(value: bytes, headers: Mapping[str, object]) -> FeedEvent:
    """Return the event in a record.

    Raises:
        SkippedRecordError: there is none, it is of a kind that this program does not know, or it is
            a dead letter that was sent again.
    """
    if REPLAYED_HEADER in headers:
        raise SkippedRecordError("a dead letter that was sent again")
    try:
        event = FeedEvent.FromString(value)
    except DecodeError as error:
        raise SkippedRecordError(f"not a FeedEvent: {error}") from error
    match event.WhichOneof("event"):
        case None:
            raise SkippedRecordError("unknown kind of event")
        case "tweet_created" | "tweet_updated" as kind:
            tweet = getattr(event, kind).tweet
            ids = tweet.id, tweet.user_id
        case "tweet_deleted":
            ids = event.tweet_deleted.tweet_id, event.tweet_deleted.user_id
        case _:
            return event
    if min(ids) <= 0:
        raise SkippedRecordError("an event without its ids")
    return event


def check_offset(partition: int, next_offset: int, begin: int, end: int) -> None:
    """Check that a partition, which has the offsets from begin to end, can be read on.

    Raises:
        LostRecordsError: the next offset is not among them.
    """
    if next_offset != OFFSET_BEGINNING and not begin <= next_offset <= end:
        raise LostRecordsError(
            f"partition {partition} has the offsets {begin} to {end}, but the index ends at"
            f" {next_offset}: records have expired, or Kafka was restored or lost; build the index"
            " again in a new file"
        )


def follow(index: Index, brokers: str, topic: str, *, until_end: bool) -> None:
    """Apply the records of all partitions; until_end: only those that are there now."""
    settings = {
        "bootstrap.servers": brokers,
        "group.id": "search-index",  # librdkafka wants one; partitions are assigned by hand
        "enable.auto.commit": False,
        "auto.offset.reset": "error",  # otherwise lost records would be passed over silently
    }
    consumer = Consumer(settings)
    try:
        known = consumer.list_topics(topic, timeout=10).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        places = [
            TopicPartition(topic, number, index.next_offset(number)) for number in known.partitions
        ]
        marks = [consumer.get_watermark_offsets(place, timeout=10) for place in places]
        for place, (begin, end) in zip(places, marks, strict=True):
            check_offset(place.partition, place.offset, begin, end)
        ends = {
            place.partition: end
            for place, (begin, end) in zip(places, marks, strict=True)
            if begin < end
        }
        consumer.assign(places)
        while not until_end or any(index.next_offset(number) < end for number, end in ends.items()):
            messages = consumer.consume(BATCH, WAIT_SECONDS)
            for message in messages:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
            index.apply(messages)
    finally:
        consumer.close()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Keep a search index of tweets, and search it.")
    parser.add_argument("database", help="the file of the index")
    parser.add_argument("--brokers", default="127.0.0.1:9092")
    parser.add_argument("--topic", default=TOPIC)
    parser.add_argument("--until-end", action="store_true", help="end when all is read")
    parser.add_argument("--search", metavar="WORDS", help="search instead of reading the topic")
    options = parser.parse_args()
    index = Index(options.database)
    if options.search is None:
        try:
            follow(index, options.brokers, options.topic, until_end=options.until_end)
        except KeyboardInterrupt:
            pass
        except (LostRecordsError, KafkaException) as error:
            sys.exit(str(error))
        return
    for id_, user_id, content in index.search(options.search):
        # Somebody else has written the text: repr() escapes what would control the terminal.
        print(id_, user_id, repr(content))


if __name__ == "__main__":
    main()
