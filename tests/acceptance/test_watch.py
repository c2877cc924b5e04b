"""Watches of home timelines, over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import Failure, failure
from helpers.waiting import wait_until
from helpers.watch_client import HeldByClient, WatchClient

from core.rpc.tls import open_channel

SECONDS = 30.0


class Stream:
    """A watch that a test reads event by event."""

    def __init__(self, clients: Fanfare, reader: User, limit: int, **request: str) -> None:
        self.held = HeldByClient(limit)
        asked = r.WatchHomeTimelineRequest(user_id=reader.id, limit=limit, **request)
        self._call = clients.read.WatchHomeTimeline(asked, timeout=SECONDS)

    def until_heartbeat(self) -> list[str]:
        """Apply events up to the next heartbeat; return the kinds of the others."""
        kinds: list[str] = []
        for event in self._call:
            self.held.apply(event)
            if event.HasField("heartbeat"):
                break
            kinds.append(event.WhichOneof("event") or "")
        return kinds

    def ids(self) -> list[int]:
        """Return the ids that the client shows."""
        return [tweet.id for tweet in self.held.shown()]

    def close(self) -> None:
        """End the watch."""
        self._call.cancel()


@pytest.fixture
def channel(fanfare: Fanfare) -> Iterator[grpc.Channel]:
    """Return a channel of the test's own."""
    settings = fanfare.settings
    with open_channel(settings.read_service_target(), settings.tls_dir) as channel:
        yield channel


def test_a_watch_shows_what_changes(fanfare: Fanfare, channel: grpc.Channel) -> None:
    """New, edited and deleted tweets, follows and unfollows; then a resumed watch."""
    bob, carol = fanfare.user(), fanfare.user()
    alice = fanfare.user(bob)
    tweets = fanfare.tweets(bob, 6)
    fanfare.wait_drained()
    client = WatchClient(channel, alice.id, limit=4)

    def shows() -> bool:
        page = fanfare.timeline(alice, 4).tweets
        return client.shown() == [(tweet.id, tweet.content) for tweet in page]

    def wait_shown() -> None:
        fanfare.wait_drained()
        wait_until(shows, "the client shows the timeline")

    try:
        wait_shown()
        fanfare.tweet(bob, "new")
        wait_shown()
        fanfare.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=tweets[-1].id, content="other"))
        wait_shown()
        assert (tweets[-1].id, "other") in client.shown()
        fanfare.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweets[-1].id))
        wait_shown()
        fanfare.tweets(carol, 2)
        fanfare.follow(alice, carol)
        wait_shown()
        fanfare.unfollow(alice, bob)
        wait_shown()
        assert len(client.shown()) == 2
        client.cut()
        fanfare.tweet(carol, "while the connection was lost")
        wait_shown()
        assert client.ends["CANCELLED"] == 1
        assert client.events["reset"] == 0
    finally:
        client.close()


def test_a_pull_authors_tweets_are_shown(fanfare: Fanfare, channel: grpc.Channel) -> None:
    """They are in no list of the reader's."""
    star = fanfare.user()
    alice = fanfare.user(star)
    fanfare.sql("UPDATE users SET pulled = true WHERE id = %s", star.id)
    fanfare.tweets(star, 2)
    fanfare.wait_drained()
    client = WatchClient(channel, alice.id, limit=4)
    try:
        wait_until(lambda: len(client.shown()) == 2, "the first tweets are shown")
        fanfare.tweet(star, "new")
        wait_until(lambda: len(client.shown()) == 3, "the new tweet is shown")
    finally:
        client.close()


def test_the_first_state_shows_the_command_of_a_token(fanfare: Fanfare) -> None:
    """Whether its event has been applied or not."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    for number in range(3):
        request = w.CreateTweetRequest(user_id=bob.id, content="now")
        created = fanfare.write.CreateTweet(request)
        stream = Stream(fanfare, alice, 20, consistency_token=created.consistency_token)
        assert len(stream.until_heartbeat()) == number + 1
        assert created.tweet.id in stream.ids()
        stream.close()


def test_refused_watches(fanfare: Fanfare) -> None:
    """Each error names its reason, before the first event."""
    bob, alice = fanfare.user(), fanfare.user()
    stream = Stream(fanfare, bob, 20)
    stream.until_heartbeat()
    stream.close()
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for token in (stream.held.token, "nonsense"):
        assert failure(Stream(fanfare, alice, 20, resume_token=token).until_heartbeat) == Failure(
            invalid, "INVALID_RESUME_TOKEN", ()
        )
    nobody = User(id=2**62)
    assert failure(Stream(fanfare, nobody, 20).until_heartbeat).reason == "USER_NOT_FOUND"


def test_a_watch_of_a_deleted_user_ends(fanfare: Fanfare) -> None:
    """With USER_NOT_FOUND."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    stream = Stream(fanfare, alice, 20)
    stream.until_heartbeat()
    fanfare.write.DeleteUser(w.DeleteUserRequest(user_id=alice.id))

    def read_on() -> None:
        while True:
            stream.until_heartbeat()

    assert failure(read_on).reason == "USER_NOT_FOUND"
