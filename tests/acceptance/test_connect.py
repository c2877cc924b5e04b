"""A page that uses the Connect protocol and gRPC-Web, against the running services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode

import pytest
from fanfare.read.v1 import read_pb2 as r
from helpers.fanfare import Fanfare

SECONDS = 30.0
READ, WRITE = "/fanfare.read.v1.ReadService/", "/fanfare.write.v1.WriteService/"


@contextmanager
def _posted(port: int, path: str, body: bytes, kind: str) -> Iterator[HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        yield connection.getresponse()
    finally:
        connection.close()


def _command(fanfare: Fanfare, method: str, message: dict[str, Any]) -> Any:
    status, answer, _ = fanfare.rest("POST", WRITE + method, message)
    assert status == 200, answer
    return answer


def _query(fanfare: Fanfare, method: str, message: dict[str, Any]) -> Any:
    query = urlencode({"connect": "v1", "encoding": "json", "message": json.dumps(message)})
    status, answer, _ = fanfare.rest("GET", f"{READ}{method}?{query}")
    assert status == 200, answer
    return answer


def _envelope(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


def _messages(answer: HTTPResponse) -> Iterator[tuple[int, bytes]]:
    """Yield the flags and the message of each envelope."""
    while head := answer.read(5):
        yield head[0], answer.read(int.from_bytes(head[1:]))


def test_a_post_shows_in_a_timeline(fanfare: Fanfare) -> None:
    """Commands and queries are Connect's; a query with a command's token shows its effect."""
    alice, bob = fanfare.user(), fanfare.user()
    _command(fanfare, "FollowUser", {"followerId": alice.id, "followedId": bob.id})
    posted = _command(fanfare, "CreateTweet", {"user_id": bob.id, "content": "by Connect"})
    page = _query(
        fanfare,
        "GetHomeTimeline",
        {"user_id": alice.id, "consistency_token": posted["consistency_token"]},
    )
    assert page["tweets"] == [posted["tweet"]]
    # What is kept as JSON in the read process is the same, as are its bytes.
    assert _query(fanfare, "GetHomeTimeline", {"user_id": alice.id}) == page
    request = r.GetHomeTimelineRequest(user_id=alice.id).SerializeToString()
    port = fanfare.settings.rest_read_port
    with _posted(port, READ + "GetHomeTimeline", request, "application/proto") as answer:
        read = r.GetHomeTimelineResponse.FromString(answer.read())
    assert [tweet.content for tweet in read.tweets] == ["by Connect"]
    web = "application/grpc-web+proto"
    with _posted(port, READ + "GetHomeTimeline", _envelope(request), web) as answer:
        (flags, message), (end, trailers) = _messages(answer)
    assert (flags, r.GetHomeTimelineResponse.FromString(message)) == (0, read)
    assert (end, trailers) == (0x80, b"grpc-status: 0\r\n")


@pytest.mark.parametrize("kind", ["application/connect+proto", "application/grpc-web+proto"])
def test_a_watch_sees_a_tweet(fanfare: Fanfare, kind: str) -> None:
    """The first page comes at once, and a new tweet as soon as it is there."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    first = fanfare.tweet(bob, "first")
    fanfare.wait_drained()
    request = _envelope(r.WatchHomeTimelineRequest(user_id=alice.id).SerializeToString())
    port = fanfare.settings.rest_read_port
    with _posted(port, READ + "WatchHomeTimeline", request, kind) as answer:
        seen: list[int] = []
        second = None
        for flags, message in _messages(answer):
            assert flags == 0, message
            event = r.WatchHomeTimelineResponse.FromString(message)
            if event.WhichOneof("event") == "tweet":
                seen.append(event.tweet.id)
            if second is None and event.WhichOneof("event") == "heartbeat":
                second = fanfare.tweet(bob, "second")
            if second is not None and second.id in seen:
                break
    assert seen == [first.id, second.id if second else 0]
