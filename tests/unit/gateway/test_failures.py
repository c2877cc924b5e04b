"""Errors as HTTP responses."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from core import errors
from gateway.answers import Answer
from gateway.failures import HTTP_STATUSES, error_answer


def _json(answer: Answer) -> Any:
    return json.loads(answer.body)


def test_every_code_has_an_http_status() -> None:
    """HTTP_STATUSES has an entry for each code that a call can fail with."""
    assert set(HTTP_STATUSES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UserNotFoundError(7), 404),
        (errors.PathNotFoundError("x"), 404),
        (errors.MethodNotFoundError("x"), 405),
        (errors.UsernameTakenError(), 409),
        (errors.BodyTooLargeError(9), 413),
        (errors.UnsupportedMediaTypeError("x"), 415),
        (errors.MalformedRequestError("x"), 400),
        (errors.InvalidRequestError([("user_id", "must be there")]), 400),
        (errors.UnauthenticatedError(), 401),
        (errors.PermissionDeniedError(), 403),
        (errors.OverloadedError(), 429),
        (errors.TooManyCallsError(), 503),
        (errors.DeadlineExceededError(), 504),
        (errors.InternalError(), 500),
    ],
)
def test_an_error_has_its_http_status(error: errors.FanfareError, status: int) -> None:
    """Some errors have a more specific HTTP status than their gRPC code alone would give."""
    response = error_answer(error)
    assert response.status == status
    assert ("Retry-After" in response.headers) == (status in {429, 503})
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def test_the_body_is_the_status_of_grpc() -> None:
    """Code, message and details are those of the google.rpc.Status, as JSON."""
    error = errors.UserNotFoundError(7)
    told = _json(error_answer(error))
    assert (told["code"], told["message"]) == (5, str(error))
    assert told["details"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert told["details"][0]["reason"] == "USER_NOT_FOUND"


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "0"), (1e-9, "1"), (1.0, "1"), (2.5, "3")])
def test_retry_after_is_rounded_up(seconds: float, header: str) -> None:
    """A client that waits for that many seconds does not retry too early."""
    error = errors.OverloadedError()
    error.retry_after = seconds
    assert error_answer(error).headers["Retry-After"] == header
