"""The rules by which examples/python/search_index.py stays right."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1.events_pb2 import (
    FeedEvent,
    TweetCreated,
    TweetDeleted,
    TweetUpdated,
    UserFollowed,
)

PATH = Path(__file__).resolve().parents[3] / "examples" / "python" / "search_index.py"
OLD, NEW = "0000000000", "1111111111"


@dataclass
class Record:
    """A record of the topic, as a consumer gets it."""

    bytes_: bytes
    offset_: int
    partition_: int = 0
    headers_: list[tuple[str, bytes]] | None = None

    def headers(self) -> list[tuple[str, bytes]] | None:
        """Return the headers."""
        return self.headers_

    def topic(self) -> str:
        """Return the topic."""
        return "feed"

    def partition(self) -> int:
        """Return the partition."""
        return self.partition_

    def offset(self) -> int:
        """Return the offset."""
        return self.offset_

    def value(self) -> bytes:
        """Return the value."""
        return self.bytes_


class Feed:
    """Applies events to an index, at one offset after another."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self._offsets = count()

    def send(
        self,
        event: FeedEvent,
        history: str = OLD,
        epoch: int = 1,
        partition: int = 0,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Apply an event."""
        stamp = FeedEvent(history=history, relay_epoch=epoch)
        value = event.SerializeToString() + stamp.SerializeToString()
        self.index.apply([Record(value, next(self._offsets), partition, headers)])

    def texts(self) -> list[str]:
        """Return the texts of all tweets, newest first."""
        return [content for _, _, content in self.index.search("text")]


@pytest.fixture(scope="module")
def program() -> Any:
    """Return the module of the program."""
    spec = importlib.util.spec_from_file_location("search_index", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def feed(program: Any, tmp_path: Path) -> Iterator[Feed]:
    """Return an empty index behind a feed."""
    index = program.Index(str(tmp_path / "index.db"))
    yield Feed(index)
    index.close()


def _created(id_: int = 1, text: str = "first text") -> FeedEvent:
    return FeedEvent(tweet_created=TweetCreated(tweet=Tweet(id=id_, user_id=7, content=text)))


def _updated(version: int, text: str) -> FeedEvent:
    tweet = Tweet(id=1, user_id=7, content=text)
    return FeedEvent(tweet_updated=TweetUpdated(tweet=tweet, version=version))


DELETED = FeedEvent(tweet_deleted=TweetDeleted(tweet_id=1, user_id=7))


def test_a_record_that_comes_again_changes_nothing(feed: Feed) -> None:
    """Neither does an older version, nor anything after the deletion."""
    feed.send(_created())
    feed.send(_updated(2, "second text"))
    for again in (_created(), _updated(2, "second text")):
        feed.send(again)
        assert feed.texts() == ["second text"]
    feed.send(DELETED)
    for again in (_created(), _updated(2, "second text"), DELETED):
        feed.send(again)
        assert feed.texts() == []


def test_what_a_replaced_relay_still_sends_is_skipped(feed: Feed) -> None:
    """In its own partition; the offsets move on nevertheless."""
    feed.send(_created(), epoch=2)
    feed.send(_updated(3, "stale text"), epoch=1)
    assert feed.texts() == ["first text"]
    assert feed.index.next_offset(0) == 2
    feed.send(_created(5, "other text"), epoch=1, partition=1)
    assert feed.texts() == ["other text", "first text"]


def test_a_new_history_takes_the_place_of_the_former(feed: Feed) -> None:
    """Its versions are smaller, as after a restore, and records of the former one are skipped."""
    feed.send(_created())
    feed.send(_updated(9, "lost text"))
    feed.send(_updated(2, "restored text"), NEW)
    feed.send(_updated(10, "late text"), OLD, epoch=5)
    assert feed.texts() == ["restored text"]
    # Another partition is not there yet.
    feed.send(_created(5, "other text"), OLD, partition=1)
    assert feed.texts() == ["other text", "restored text"]


def test_a_record_that_cannot_be_read_is_told_and_skipped(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other kinds of events are skipped silently."""
    feed.index.apply([Record(b"\xff", 0)])
    assert capsys.readouterr().err.startswith("skipped feed/0/0: ")
    feed.send(FeedEvent(user_followed=UserFollowed(follower_id=1, followed_id=7)))
    assert feed.index.next_offset(0) == 1


@pytest.mark.parametrize(
    "event",
    [FeedEvent(), FeedEvent(tweet_created=TweetCreated()), FeedEvent(tweet_deleted=TweetDeleted())],
    ids=["no kind", "no tweet", "no ids"],
)
def test_what_is_no_event_ends_no_history(
    feed: Feed, event: FeedEvent, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record of another program that happens to be a message: later events still count."""
    feed.send(_created())
    feed.send(event, history="another", epoch=9)
    assert capsys.readouterr().err.startswith("skipped feed/0/1: ")
    feed.send(_created(2, "second text"))
    assert feed.texts() == ["second text", "first text"]


def test_a_dead_letter_that_was_sent_again_is_skipped(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is out of order, and its epoch is not that of the relays."""
    feed.send(_created(), NEW, epoch=2)
    feed.send(_updated(9, "stale text"), NEW, epoch=50, headers=[("replayed", b"feed/0/0")])
    assert "a dead letter that was sent again" in capsys.readouterr().err
    feed.send(_created(2, "second text"), NEW, epoch=2)
    assert feed.texts() == ["second text", "first text"]


def test_offsets_that_the_topic_does_not_have_are_refused(program: Any) -> None:
    """Before them, records have expired; behind them, the topic is another or an older one."""
    for good in (program.OFFSET_BEGINNING, 3, 5, 7):
        program.check_offset(0, good, 3, 7)
    for bad in (2, 8):
        with pytest.raises(program.LostRecordsError, match=f"the index ends at {bad}"):
            program.check_offset(0, bad, 3, 7)


def test_a_batch_takes_effect_as_a_whole(feed: Feed) -> None:
    """What fails in the middle leaves neither an effect nor an offset."""
    broken = Record(_created().SerializeToString(), 0)
    broken.offset_ = None  # type: ignore[assignment]
    with pytest.raises(AssertionError):
        feed.index.apply([Record(_created(2).SerializeToString(), 7), broken])
    assert feed.texts() == []
    assert feed.index.next_offset(0) < 0
