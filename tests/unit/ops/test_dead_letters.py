"""Which dead letters `fanfare dlq replay` sends again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1.events_pb2 import FeedEvent, TweetCreated

from core.feed.events import UnreadableEventError
from core.feed.history import Lsn, Moment
from ops.dead_letters import DeadLetter, DeadLetterTopic, replay_letters, replayed_record

MOMENT = Moment("0123456789", Lsn(7))


class FakeTopic:
    """A topic of letters with the offsets 0, 1, 2 and so on."""

    def __init__(self, count: int, replayed: int = 0, unreadable: int | None = None) -> None:
        self._count = count
        self.replayed = replayed
        """The offset after the last replayed letter."""
        self._unreadable = unreadable
        self.sent: list[int] = []
        self.flushed = 0

    def letters(self) -> Iterator[DeadLetter]:
        """Yield all letters."""
        for offset in range(self._count):
            is_replayed = offset < self.replayed
            place, time = f"feed/0/{offset}", datetime.now(UTC)
            yield DeadLetter(offset, place, "?", time, b"", [], is_replayed=is_replayed)

    def resend(self, letter: DeadLetter, _moment: Moment) -> None:
        """Note that the letter was sent, unless it is the unreadable one."""
        if letter.offset == self._unreadable:
            raise UnreadableEventError("an event of no known kind")
        self.sent.append(letter.offset)

    def flush(self) -> None:
        """Note how many letters Kafka has now."""
        self.flushed = len(self.sent)

    def mark_replayed(self, end: int) -> None:
        """Remember the end; everything before it must have been flushed."""
        assert self.flushed == len(self.sent)
        self.replayed = end


def _replay(topic: FakeTopic, place: str | None = None) -> tuple[int, list[str]]:
    result = replay_letters(cast("DeadLetterTopic", topic), MOMENT, place)
    return result.sent, result.unreadable


def test_only_letters_that_have_not_been_replayed_are_sent() -> None:
    """Each letter is replayed once."""
    topic = FakeTopic(3, replayed=1)
    assert _replay(topic) == (2, [])
    assert (topic.sent, topic.replayed) == ([1, 2], 3)
    assert _replay(topic) == (0, [])
    assert topic.replayed == 3


def test_an_unreadable_letter_and_those_after_it_are_tried_again() -> None:
    """Letters after an unreadable one are sent, but only those before it count as replayed."""
    topic = FakeTopic(3, unreadable=1)
    assert _replay(topic) == (2, ["feed/0/1: an event of no known kind"])
    assert (topic.sent, topic.replayed) == ([0, 2], 1)


def test_one_place_is_replayed_even_again() -> None:
    """A letter that is chosen by its place is sent, and the others stay as they are."""
    topic = FakeTopic(3, replayed=2)
    assert _replay(topic, "feed/0/1") == (1, [])
    assert (topic.sent, topic.replayed) == ([1], 2)


def test_a_letter_of_a_former_history_is_sent_as_of_the_present_one() -> None:
    """Its epoch is that of no relay, so that consumers do not skip what the relays send."""
    event = FeedEvent(
        event_id=11,
        wal_position=1,
        relay_epoch=50,
        history="9999999999",
        tweet_created=TweetCreated(tweet=Tweet(id=5, user_id=7)),
    )
    headers: list[tuple[str, str | bytes | None]] = [
        ("ce_id", b"11"),
        ("ce_history", b"9999999999"),
    ]
    stored = event.SerializeToString()
    letter = DeadLetter(0, "feed/0/3", "?", datetime.now(UTC), stored, headers, is_replayed=False)
    value, key, sent = replayed_record(letter, MOMENT)
    again = FeedEvent.FromString(value)
    assert (again.relay_epoch, again.history, again.wal_position) == (0, MOMENT.history, MOMENT.lsn)
    assert (again.event_id, again.tweet_created, key) == (11, event.tweet_created, "7")
    assert dict(sent) == {"ce_id": b"11", "ce_history": MOMENT.history, "replayed": "feed/0/3"}
