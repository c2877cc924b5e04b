"""Watches of the Python client: what they show, when they go on, and when they end."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from fanfare.auth.v1.auth_pb2 import RefreshSessionResponse, Session
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import (
    Heartbeat,
    Reset,
    WatchHomeTimelineRequest,
    WatchHomeTimelineResponse,
)
from google.protobuf.timestamp_pb2 import Timestamp
from helpers.fake_fanfare import FakeFanfare, status

from fanfare_client.errors import FanfareError
from fanfare_client.watches import Watch

Event = WatchHomeTimelineResponse
CUT = FanfareError(grpc.StatusCode.UNAVAILABLE, "connection reset")


def tweet(tweet_id: int, content: str = "hello") -> Event:
    """Return the event of a tweet."""
    return Event(tweet=Tweet(id=tweet_id, content=content), resume_token=f"after {tweet_id}")


def heartbeat(token: str) -> Event:
    """Return a heartbeat."""
    return Event(heartbeat=Heartbeat(), resume_token=token)


def watch() -> Watch:
    """Return a watch whose delays are not random."""
    return Watch(7, 20, "consistent", chance=lambda: 1.0)


def shown(watch: Watch, *events: Event) -> list[list[int]]:
    """Apply events; return the ids of the timelines to show."""
    timelines = [watch.apply(event) for event in events]
    return [[each.id for each in tweets] for tweets in timelines if tweets is not None]


def test_a_timeline_is_shown_when_a_group_of_changes_ends() -> None:
    """Newest first, and not again by a heartbeat without changes."""
    each = watch()
    assert shown(each, tweet(1), tweet(3), tweet(2), heartbeat("a")) == [[3, 2, 1]]
    assert shown(each, heartbeat("a")) == []
    removed = Event(removed_tweet_id=3, resume_token="b")
    assert shown(each, removed, removed, tweet(4), heartbeat("b")) == [[4, 2, 1]]
    reset = Event(reset=Reset(), resume_token="c")
    assert shown(each, reset, tweet(9), heartbeat("c")) == [[9]]


def test_an_empty_timeline_is_shown() -> None:
    """So that it is known to be empty."""
    assert shown(watch(), heartbeat("a")) == [[]]


def test_an_edited_tweet_replaces_the_one_before() -> None:
    """Tweets are held by id."""
    each = watch()
    each.apply(tweet(1))
    each.apply(tweet(1, "edited"))
    assert each.apply(heartbeat("a")) == [Tweet(id=1, content="edited")]


def test_the_next_stream_continues_after_the_last_event() -> None:
    """The consistency token is sent until its effect was shown."""
    each = watch()
    first = WatchHomeTimelineRequest(user_id=7, limit=20, consistency_token="consistent")
    assert each.request() == first
    each.apply(tweet(1))
    first.resume_token = "after 1"
    assert each.request() == first
    each.apply(heartbeat("a"))
    assert each.request() == WatchHomeTimelineRequest(user_id=7, limit=20, resume_token="a")


def test_delays_grow_until_a_heartbeat() -> None:
    """Up to ten seconds."""
    each = watch()
    delays = [each.delay_seconds(CUT) for _ in range(9)]
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10])
    each.apply(tweet(1))
    assert each.delay_seconds(CUT) == pytest.approx(10)
    each.apply(heartbeat("a"))
    assert each.delay_seconds(None) == pytest.approx(0.2)


def test_the_server_may_ask_for_a_delay() -> None:
    """Otherwise chance makes it shorter, by half at most."""
    busy = FanfareError(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", retry_delay_seconds=5)
    assert watch().delay_seconds(busy) == 5
    assert Watch(7, 20, "", chance=lambda: 0.0).delay_seconds(CUT) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("code", "reason", "is_final"),
    [
        (grpc.StatusCode.NOT_FOUND, 4, True),
        (grpc.StatusCode.PERMISSION_DENIED, 23, True),
        (grpc.StatusCode.UNAUTHENTICATED, 22, True),
        (grpc.StatusCode.UNIMPLEMENTED, 0, True),
        (grpc.StatusCode.INTERNAL, 18, True),
        (grpc.StatusCode.INTERNAL, 0, False),
        (grpc.StatusCode.CANCELLED, 0, False),
        (grpc.StatusCode.UNAVAILABLE, 29, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 33, False),
    ],
)
def test_an_error_is_final_if_it_would_come_again(
    code: grpc.StatusCode, reason: int, is_final: bool
) -> None:
    """What comes from a proxy or a broken connection has no reason, and passes."""
    error = FanfareError(code, "", reason)  # type: ignore[arg-type]  # the number of a reason
    if is_final:
        with pytest.raises(FanfareError):
            watch().delay_seconds(error)
    else:
        assert watch().delay_seconds(error) > 0


def test_a_refused_resume_token_starts_over() -> None:
    """Without tweets, because the server sends no reset to a client that it takes for a new one."""
    each = watch()
    shown(each, tweet(1), heartbeat("a"))
    refused = FanfareError(grpc.StatusCode.INVALID_ARGUMENT, "", 34)  # type: ignore[arg-type]
    assert each.delay_seconds(refused) > 0
    assert not each.request().resume_token
    with pytest.raises(FanfareError):
        each.delay_seconds(refused)
    assert shown(each, tweet(2), heartbeat("b")) == [[2]]


def test_a_watch_goes_on_after_its_stream_ends() -> None:
    """The client opens another stream, which continues where the last one ended."""
    with FakeFanfare() as fake:
        timelines = fake.client.watch(7, limit=2)
        first = fake.start(lambda: next(timelines))
        stream = fake.stream(tweet(1), heartbeat("a"))
        assert stream.request == WatchHomeTimelineRequest(user_id=7, limit=2)
        assert [each.id for each in first.result()] == [1]
        second = fake.start(lambda: next(timelines))
        stream.end(
            status(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", retry=timedelta(milliseconds=1))
        )
        stream = fake.stream(tweet(2), heartbeat("b"))
        assert stream.request.resume_token == "a"
        assert [each.id for each in second.result()] == [2, 1]
        timelines.close()
        stream.call.cancelled()


def test_a_watch_ends_with_its_user() -> None:
    """The error is raised to the caller."""
    with FakeFanfare() as fake:
        timelines = fake.client.watch(7)
        call = fake.start(lambda: next(timelines))
        fake.stream().end(status(grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND", user_id="7"))
        error = call.exception()
        assert isinstance(error, FanfareError)
        assert error.metadata == {"user_id": "7"}


def test_a_watch_renews_its_access_token() -> None:
    """When the token expires, the stream ends, and the next one has a new token."""
    session = Session(access_token="old", access_expires_at=Timestamp(seconds=2**33))
    renewed = RefreshSessionResponse(session=Session(access_token="new"))
    rejected = status(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    with FakeFanfare(session) as fake:
        timelines = fake.client.watch(7)
        first = fake.start(lambda: next(timelines))
        stream = fake.stream(heartbeat("a"))
        assert stream.metadata["authorization"] == "Bearer old"
        first.result()
        second = fake.start(lambda: next(timelines))
        stream.end(rejected)
        fake.answer("RefreshSession", renewed)
        stream = fake.stream(tweet(1), heartbeat("b"))
        assert stream.metadata["authorization"] == "Bearer new"
        assert len(second.result()) == 1
        timelines.close()


def test_a_watch_whose_renewed_token_is_rejected_ends() -> None:
    """Until a heartbeat has shown that the new token is good."""
    session = Session(access_token="old", access_expires_at=Timestamp(seconds=2**33))
    renewed = RefreshSessionResponse(session=session)
    rejected = status(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    with FakeFanfare(session) as fake:
        timelines = fake.client.watch(7)
        call = fake.start(lambda: next(timelines))
        fake.stream().end(rejected)
        fake.answer("RefreshSession", renewed)
        fake.stream().end(rejected)
        error = call.exception()
        assert isinstance(error, FanfareError)
        assert error.code is grpc.StatusCode.UNAUTHENTICATED
    each = watch()
    assert each.needs_new_token(error, "old")
    each.note_renewed()
    assert not each.needs_new_token(error, "new")
    each.apply(heartbeat("a"))
    assert each.needs_new_token(error, "new")
