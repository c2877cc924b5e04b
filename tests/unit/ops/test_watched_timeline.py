"""A watched timeline across reconnects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import Heartbeat, Reset, WatchHomeTimelineResponse
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from ops.watched_timeline import (
    FIRST_PAUSE_SECONDS,
    MAX_PAUSE_SECONDS,
    Disconnected,
    WatchedTimeline,
    resumed_events,
)

Response = WatchHomeTimelineResponse
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Failed(grpc.RpcError):
    """A call that has failed."""

    def __init__(self, code: int, message: str, reason: str, pause_ms: int = 0) -> None:
        self._code, self._message = CODES[code], message
        status = Status(code=code, message=message)
        status.details.add().Pack(ErrorInfo(reason=reason, domain="fanfare"))
        if pause_ms:
            pause = Duration()
            pause.FromMilliseconds(pause_ms)
            status.details.add().Pack(RetryInfo(retry_delay=pause))
        self._status = status.SerializeToString()

    def code(self) -> grpc.StatusCode:
        """Return the code."""
        return self._code

    def details(self) -> str:
        """Return the message."""
        return self._message

    def trailing_metadata(self) -> Any:
        """Return the details."""
        return (("grpc-status-details-bin", self._status),)


DOWN = Failed(UNAVAILABLE, "nobody listens", "")
DRAINING = Failed(UNAVAILABLE, "shutting down", "SHUTTING_DOWN", pause_ms=1500)
GONE = Failed(NOT_FOUND, "there is no user 1", "USER_NOT_FOUND")
MANGLED = Failed(INVALID_ARGUMENT, "not a resume token", "INVALID_RESUME_TOKEN")


def _tweet(id_: int, token: str, content: str = "") -> Response:
    return Response(tweet=Tweet(id=id_, content=content), resume_token=token)


class Server:
    """Plays streams one after another, each of events and perhaps a failure at its end."""

    def __init__(self, *streams: Sequence[Response | Failed]) -> None:
        self._streams = list(streams)
        self.tokens: list[str] = []
        self.pauses: list[float] = []

    def open(self, resume_token: str) -> Iterator[Response]:
        """Play the next stream."""
        self.tokens.append(resume_token)
        for step in self._streams.pop(0):
            if isinstance(step, Failed):
                raise step
            yield step

    def watch(self) -> list[Response | Disconnected]:
        """Return all events until the watch ends by an error."""
        seen: list[Response | Disconnected] = []
        events = resumed_events(self.open, self.pauses.append)
        with pytest.raises(Failed):  # noqa: PT012 - any of the events may be the last
            while True:
                seen.append(next(events))
        return seen


def test_each_stream_resumes_after_the_last_event() -> None:
    """An event without a token changes nothing, and a stream that ends well is continued too."""
    server = Server(
        [_tweet(1, "a"), _tweet(2, "b"), DRAINING],
        [Response(heartbeat=Heartbeat()), _tweet(3, "c")],
        [GONE],
    )
    seen = server.watch()
    assert server.tokens == ["", "b", "c"]
    assert [event for event in seen if isinstance(event, Disconnected)] == [
        Disconnected("shutting down", 1.5),
        Disconnected("the server ended the stream", server.pauses[1]),
    ]
    assert server.pauses[0] == 1.5


def test_a_first_connection_that_fails_is_an_error() -> None:
    """A wrong address is told at once."""
    assert Server([DOWN]).watch() == []


def test_pauses_grow_up_to_a_limit_and_begin_again() -> None:
    """A server that is down for long is asked seldom."""
    server = Server([_tweet(1, "a"), DOWN], *[[DOWN]] * 9, [_tweet(1, "b"), DOWN], [GONE])
    server.watch()
    assert len(server.pauses) == 11
    for number, pause in enumerate([*server.pauses[:10], server.pauses[10]]):
        longest = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (number if number < 10 else 0))
        assert longest / 2 <= pause <= longest


def test_a_deleted_user_ends_the_watch() -> None:
    """A stream that ended by an error is tried once more; then the error is final."""
    server = Server([_tweet(1, "a"), GONE], [GONE])
    assert len(server.watch()) == 2
    assert server.tokens == ["", "a"]


def test_a_token_that_is_refused_starts_again_from_nothing() -> None:
    """Everything that is held is taken out first."""
    server = Server([_tweet(1, "a"), DOWN], [MANGLED], [_tweet(2, "b"), DOWN], [GONE])
    timeline = WatchedTimeline()
    for event in server.watch():
        if isinstance(event, Response):
            timeline.apply(event)
    assert server.tokens == ["", "a", "", "b"]
    assert [tweet.id for tweet in timeline.newest()] == [2]


def test_a_token_is_not_refused_forever() -> None:
    """Without a token, the same refusal is an error like any other."""
    assert Server([MANGLED]).watch() == []


def test_the_rules_of_events() -> None:
    """Put, replace, take out, take out what is not there, take out all."""
    timeline = WatchedTimeline()
    steps: list[tuple[Response, list[tuple[int, str]]]] = [
        (_tweet(1, "", "old"), [(1, "old")]),
        (_tweet(3, "", "new"), [(3, "new"), (1, "old")]),
        (_tweet(1, "", "edited"), [(3, "new"), (1, "edited")]),
        (Response(removed_tweet_id=3), [(1, "edited")]),
        (Response(removed_tweet_id=3), [(1, "edited")]),
        (Response(heartbeat=Heartbeat()), [(1, "edited")]),
        (Response(), [(1, "edited")]),
        (Response(reset=Reset()), []),
        (_tweet(2, ""), [(2, "")]),
    ]
    for event, held in steps:
        timeline.apply(event)
        assert [(tweet.id, tweet.content) for tweet in timeline.newest()] == held
