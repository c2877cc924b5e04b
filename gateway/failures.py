"""Errors as HTTP responses: google.rpc.Status as JSON, with a fitting HTTP status."""

from __future__ import annotations

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from core.errors import (
    BodyTooLargeError,
    FanfareError,
    MethodNotFoundError,
    UnsupportedMediaTypeError,
)
from core.rpc.error_status import to_status
from gateway.answers import Answer
from gateway.transcode import json_body

HTTP_STATUSES: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}

# Errors for which HTTP has a more specific status than their gRPC code gives.
_SPECIFIC_STATUSES: dict[type[FanfareError], int] = {
    MethodNotFoundError: 405,
    BodyTooLargeError: 413,
    UnsupportedMediaTypeError: 415,
}

FAILURE_STATUSES = frozenset({*HTTP_STATUSES.values(), *_SPECIFIC_STATUSES.values()})
"""Every status that error_answer() can give."""


def http_status_of(error: FanfareError) -> int:
    """Return the HTTP status of a failed call."""
    return _SPECIFIC_STATUSES.get(type(error), HTTP_STATUSES[error.code])


def error_answer(error: FanfareError) -> Answer:
    """Return the HTTP response for a failed call."""
    status = to_status(error)
    return Answer(http_status_of(error), json_body(status), error_headers(status))


def text_answer(error: FanfareError) -> Answer:
    """Return the HTTP response for a request of a client that may not know REST's errors.

    It has no JSON, which clients of Connect would take for an error of theirs. They infer a code
    from the HTTP status.
    """
    body = f"{error}\n".encode()
    return Answer(http_status_of(error), body, content_type="text/plain; charset=utf-8")


def error_headers(status: Status) -> dict[str, str]:
    """Return the HTTP headers that repeat for HTTP clients what an error says."""
    headers = {}
    if status.code == grpc.StatusCode.UNAUTHENTICATED.value[0]:
        headers["WWW-Authenticate"] = "Bearer"
    retry = RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            delay = retry.retry_delay
            # Whole seconds, rounded up, so that a client does not retry too early.
            headers["Retry-After"] = str(delay.seconds + (delay.nanos > 0))
    return headers
