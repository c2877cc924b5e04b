"""What a watch of a home timeline asks for, shows, and does after a failure; without I/O."""

from __future__ import annotations

import random
from collections.abc import Callable

import grpc
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.errors.v1.errors_pb2 import (
    ERROR_REASON_INVALID_RESUME_TOKEN,
    ERROR_REASON_UNSPECIFIED,
)
from fanfare.read.v1.read_pb2 import WatchHomeTimelineRequest, WatchHomeTimelineResponse

from fanfare_client.errors import FanfareError
from fanfare_client.sessions import is_rejected
from fanfare_client.timelines import WatchedTimeline

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
_TRANSIENT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
# These come from a proxy or a broken connection, if Fanfare gave no reason.
_TRANSIENT_WITHOUT_REASON = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class Watch:
    """A watch of one home timeline, over all the streams that it needs."""

    def __init__(
        self,
        user_id: int,
        limit: int,
        consistency_token: str,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Describe the watch.

        Args:
            user_id: Whose home timeline.
            limit: How many tweets to hold, as in GetHomeTimeline.
            consistency_token: Of a command whose effect the first state must show; may be empty.
            chance: Returns a random number from 0 to 1.
        """
        self._user_id = user_id
        self._limit = limit
        self._consistency_token = consistency_token
        self._chance = chance
        self._timeline = WatchedTimeline()
        self._resume_token = ""
        self._failures = 0
        self._is_renewed = False
        self._is_changed = True  # an empty timeline is shown, too

    def request(self) -> WatchHomeTimelineRequest:
        """Return the request of the next stream, which continues where the last one ended."""
        return WatchHomeTimelineRequest(
            user_id=self._user_id,
            limit=self._limit,
            resume_token=self._resume_token,
            consistency_token=self._consistency_token,
        )

    def apply(self, event: WatchHomeTimelineResponse) -> list[Tweet] | None:
        """Apply an event.

        Returns:
            The tweets to show, newest first, at the end of each group of changes, which a heartbeat
            marks; None before that, or if nothing changed.
        """
        self._timeline.apply(event)
        self._resume_token = event.resume_token
        if event.WhichOneof("event") != "heartbeat":
            self._is_changed = True
            return None
        self._failures = 0
        self._is_renewed = False
        self._consistency_token = ""  # its effect has been shown, and the resume token includes it
        is_changed, self._is_changed = self._is_changed, False
        return self._timeline.tweets if is_changed else None

    def needs_new_token(self, error: FanfareError | None, access_token: str) -> bool:
        """Return whether to renew the access token and open the next stream at once.

        Args:
            error: Why the stream ended; None if it ended without an error.
            access_token: The one that the stream used; empty if none.
        """
        return error is not None and not self._is_renewed and is_rejected(error, access_token)

    def note_renewed(self) -> None:
        """Remember that the access token was renewed: a second rejection in a row is final."""
        self._is_renewed = True

    def delay_seconds(self, error: FanfareError | None) -> float:
        """Return how long to wait before the next stream, in seconds.

        Args:
            error: Why the stream ended; None if it ended without an error.

        Raises:
            FanfareError: The error, if another stream would end with it as well.
        """
        if error is not None and error.reason == ERROR_REASON_INVALID_RESUME_TOKEN:
            # The server no longer accepts what it sent, as after a change of its format.
            if not self._resume_token:
                raise error
            self._resume_token = ""
            self._timeline.clear()
            self._is_changed = True
        elif error is not None and not _is_transient(error):
            raise error
        backoff = min(FIRST_DELAY_SECONDS * 2.0**self._failures, LONGEST_DELAY_SECONDS)
        self._failures = min(self._failures + 1, 16)
        if error is not None and error.retry_delay_seconds:
            return error.retry_delay_seconds
        return backoff * (0.5 + self._chance() / 2)


def _is_transient(error: FanfareError) -> bool:
    """Return whether the same stream may succeed later."""
    return error.code in _TRANSIENT or (
        error.code in _TRANSIENT_WITHOUT_REASON and error.reason == ERROR_REASON_UNSPECIFIED
    )
