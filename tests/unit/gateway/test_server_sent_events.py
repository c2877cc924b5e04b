"""Messages of a stream as Server-Sent Events."""

from __future__ import annotations

import json

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from core.errors import UserNotFoundError
from core.watch_errors import WATCH_AGAIN_SECONDS, WatchEndedError
from gateway import server_sent_events as sse
from gateway.server_sent_events import EventPrinter, error_event, retry, usual_retry

TOKEN = "dG9rZW4_-"
PRINTER = EventPrinter(pb.WatchHomeTimelineResponse.DESCRIPTOR)


def _fields(text: bytes) -> dict[str, str]:
    """Return the fields of one event, which ends with an empty line."""
    assert text.endswith(b"\n\n")
    lines = text.decode()[:-2].split("\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(fields) == len(lines)
    return fields


def _printed(event: pb.WatchHomeTimelineResponse) -> dict[str, str]:
    return _fields(PRINTER.print(event.SerializeToString()))


def test_a_tweet() -> None:
    """Its JSON is one line, whatever its text."""
    content = 'a\r\nb\n\ndata: x\u2028 "<script>" 👋'
    tweet = Tweet(id=2**60, user_id=2, content=content, created_at=Timestamp(seconds=1))
    fields = _printed(pb.WatchHomeTimelineResponse(tweet=tweet, resume_token=TOKEN))
    assert (fields["id"], fields["event"]) == (TOKEN, "tweet")
    assert json.loads(fields["data"]) == {
        "tweet": {
            "id": str(2**60),
            "user_id": "2",
            "content": content,
            "created_at": "1970-01-01T00:00:01Z",
        }
    }


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (
            pb.WatchHomeTimelineResponse(removed_tweet_id=123, resume_token=TOKEN),
            "removed",
            '{"removed_tweet_id": "123"}',
        ),
        (
            pb.WatchHomeTimelineResponse(reset=pb.Reset(), resume_token=TOKEN),
            "reset",
            '{"reset": {}}',
        ),
    ],
)
def test_other_events(event: pb.WatchHomeTimelineResponse, name: str, data: str) -> None:
    """They have a resume token as well."""
    assert _printed(event) == {"id": TOKEN, "event": name, "data": data}


def test_a_heartbeat_is_a_comment() -> None:
    """Browsers do not show it to the page."""
    event = pb.WatchHomeTimelineResponse(heartbeat=pb.Heartbeat(), resume_token=TOKEN)
    assert PRINTER.print(event.SerializeToString()) == b": heartbeat\n\n"


def test_an_error_is_an_event_with_the_status() -> None:
    """As in the body of an answer with an error."""
    fields = _fields(error_event(UserNotFoundError(7)))
    assert fields["event"] == "error"
    status = json.loads(fields["data"])
    assert status["code"] == 5
    assert status["details"][0]["reason"] == "USER_NOT_FOUND"


def test_clients_do_not_come_back_all_at_once() -> None:
    """The usual delay differs, and so does that of a drain, which is at most as long."""
    delays = {int(_fields(usual_retry())["retry"]) for _ in range(100)}
    assert len(delays) > 50
    assert sse.MIN_RETRY_MS <= min(delays) <= max(delays) <= sse.MAX_RETRY_MS
    assert retry(7) == b"retry: 7\n\n"
    drained = {WatchEndedError().retry_after for _ in range(100)}
    assert len(drained) > 50
    assert 0 <= min(drained) <= max(drained) <= WATCH_AGAIN_SECONDS
