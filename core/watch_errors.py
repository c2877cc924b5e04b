"""The errors of watches, which are the calls of WatchHomeTimeline."""

from __future__ import annotations

import random

import grpc
from fanfare.errors.v1.errors_pb2 import ErrorReason

from core.errors import FanfareError, RetryableError, ShuttingDownError

# The clients of the watches that a drain ends come back within this time.
WATCH_AGAIN_SECONDS = 5.0


class InvalidResumeTokenError(FanfareError):
    """The resume token was changed, or belongs to another user."""

    reason = ErrorReason.ERROR_REASON_INVALID_RESUME_TOKEN
    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "resume_token is damaged, or belongs to another user; watch again without it"
    field = "resume_token"


class TooManyWatchesError(RetryableError):
    """The caller, or all callers together, have as many watches open as they may."""

    reason = ErrorReason.ERROR_REASON_TOO_MANY_WATCHES
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = (
        "{holder} {limit} open watches in this process, which is the limit; close one that is no "
        "longer needed, or retry later"
    )
    retry_after = WATCH_AGAIN_SECONDS

    def __init__(self, holder: str, limit: int) -> None:
        """Take the beginning of the message, such as "the caller has", and the limit."""
        super().__init__({"limit": limit}, holder=holder)


class WatchEndedError(ShuttingDownError):
    """A drain has ended a watch, or refused one that began; its client resumes it elsewhere."""

    message = "this process is shutting down; watch again with the latest resume_token"

    def __init__(self) -> None:
        """Choose a delay, so that the clients of a process do not come back all at once."""
        super().__init__()
        self.retry_after = random.uniform(0, WATCH_AGAIN_SECONDS)  # noqa: S311 - not a secret
