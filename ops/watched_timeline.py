"""A watched home timeline: the events of its stream across reconnects, and what they make of it.

The rules are the same for every client. It holds tweets by id: an event puts one there, takes one
out, or takes all of them out. Each event carries the resume token of the state after it. Whoever
connects again with the last one gets only the difference.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, cast

import grpc
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.errors.v1.errors_pb2 import ErrorReason
from fanfare.read.v1.read_pb2 import Reset, WatchHomeTimelineResponse
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 10.0
# A connection that failed with one of these before its first event may succeed later.
_PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
_INVALID_TOKEN = ErrorReason.Name(ErrorReason.ERROR_REASON_INVALID_RESUME_TOKEN).removeprefix(
    "ERROR_REASON_"
)


class Disconnected(NamedTuple):
    """The stream has ended, and the next one begins after a pause."""

    problem: str
    pause_seconds: float


class WatchedTimeline:
    """The tweets that a client holds."""

    def __init__(self) -> None:
        self._tweets: dict[int, Tweet] = {}

    def apply(self, event: WatchHomeTimelineResponse) -> None:
        """Change what is held as the event says."""
        match event.WhichOneof("event"):
            case "tweet":
                self._tweets[event.tweet.id] = event.tweet
            case "removed_tweet_id":
                self._tweets.pop(event.removed_tweet_id, None)
            case "reset":
                self._tweets.clear()

    def newest(self) -> list[Tweet]:
        """Return the tweets, newest first."""
        return [self._tweets[id_] for id_ in sorted(self._tweets, reverse=True)]


def resumed_events(
    open_stream: Callable[[str], Iterable[WatchHomeTimelineResponse]],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[WatchHomeTimelineResponse | Disconnected]:
    """Yield events, and reconnect when the stream ends, until the server refuses to go on.

    Args:
        open_stream: begins a stream after a resume token, which is empty for the first one.
        sleep: waits for a number of seconds.

    Raises:
        grpc.RpcError: no stream has had an event yet, or the error is not a passing one.
    """
    resume_token = ""
    has_begun = False
    failures = 0
    while True:
        delivers = False
        pause = 0.0
        try:
            for event in open_stream(resume_token):
                resume_token = event.resume_token or resume_token
                has_begun, delivers, failures = True, True, 0
                yield event
            problem = "the server ended the stream"
        except grpc.RpcError as error:
            call = cast("grpc.Call", error)
            reason, pause = _details(call)
            if reason == _INVALID_TOKEN and resume_token:
                # What is held cannot be compared with the timeline any more.
                resume_token = ""
                yield WatchHomeTimelineResponse(reset=Reset())
                continue
            # A stream that had events may be tried again, whatever ended it.
            if not delivers and not (has_begun and call.code() in _PASSING):
                raise
            problem = call.details() or call.code().name
        pause = pause or _pause(failures)
        failures += 1
        yield Disconnected(problem, pause)
        sleep(pause)


def _pause(failures: int) -> float:
    longest = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**failures)
    # Clients that lost one server at one moment must not come back at one moment.
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _details(call: grpc.Call) -> tuple[str, float]:
    """Return an error's reason, or "", and the pause in seconds that it asks for, or 0."""
    reason, pause = "", 0.0
    try:
        status = rpc_status.from_call(call)
    except (ValueError, DecodeError):
        status = None  # its details are not of this error
    info, retry = ErrorInfo(), RetryInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            reason = info.reason
        if detail.Unpack(retry):
            pause = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, pause
