"""Statuses of gRPC as answers of HTTP."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from aiohttp import web
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from core import errors
from gateway.failures import HTTP_STATUSES, failure, refusal

STATUS_KEY = "grpc-status-details-bin"


def _failed(code: grpc.StatusCode, details: str = "", rich: bytes | None = None) -> web.Response:
    metadata = grpc.aio.Metadata(*([(STATUS_KEY, rich)] if rich is not None else []))
    return failure(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details))


def _json(response: web.Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_every_code_has_an_http_status() -> None:
    """No code that a service can fail with is without one."""
    assert set(HTTP_STATUSES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("code", HTTP_STATUSES, ids=lambda code: code.name)
def test_a_code_with_details_keeps_its_code(code: grpc.StatusCode) -> None:
    """What a service says in full is passed on as it is."""
    rich = Status(code=code.value[0], message="why").SerializeToString()
    response = _failed(code, "why", rich)
    assert response.status == HTTP_STATUSES[code]
    assert _json(response) == {"code": code.value[0], "message": "why", "details": []}


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, 503, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.CANCELLED, 503, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "OVERLOADED"),
        (grpc.StatusCode.UNIMPLEMENTED, 501, "METHOD_NOT_FOUND"),
        (grpc.StatusCode.INTERNAL, 500, "INTERNAL"),
        (grpc.StatusCode.UNKNOWN, 500, "INTERNAL"),
    ],
)
@pytest.mark.parametrize(
    "rich", [None, b"\xff", Status(code=16, message="10.0.0.1:50051").SerializeToString()]
)
def test_what_grpc_itself_says_is_put_in_our_words(
    code: grpc.StatusCode, status: int, reason: str, rich: bytes | None
) -> None:
    """Without details, or with unusable ones, the answer has a reason of ours and no addresses."""
    response = _failed(code, "connect to 10.0.0.1:50051 failed", rich)
    told = _json(response)
    assert (response.status, told["details"][0]["reason"]) == (status, reason)
    assert "10.0.0.1" not in str(told)
    assert ("Retry-After" in response.headers) == (status in {429, 503})


def test_a_client_fault_without_details_keeps_its_message() -> None:
    """A code that grpc does not make up by itself is the service's own word."""
    response = _failed(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    assert response.status == 403
    assert _json(response) == {"code": 7, "message": "not yours", "details": []}


@pytest.mark.parametrize(
    ("seconds", "nanos", "header"), [(0, 0, "0"), (0, 1, "1"), (1, 0, "1"), (2, 500_000_000, "3")]
)
def test_retry_after_is_rounded_up(seconds: int, nanos: int, header: str) -> None:
    """A client that waits as long as told is never too early."""
    status = Status(code=14)
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos)))
    response = _failed(grpc.StatusCode.UNAVAILABLE, "", status.SerializeToString())
    assert (response.status, response.headers["Retry-After"]) == (503, header)


def test_details_without_json_are_left_out() -> None:
    """A newer service's details, or broken ones, do not cost the client the rest."""
    status = errors.to_status(errors.UserNotFoundError(7))
    url = "type.googleapis.com/"
    status.details.append(AnyMessage(type_url=url + "fanfare.v9.New"))
    status.details.append(AnyMessage(type_url=url + "google.rpc.RetryInfo", value=b"\xff"))
    response = _failed(grpc.StatusCode.NOT_FOUND, status.message, status.SerializeToString())
    (detail,) = _json(response)["details"]
    assert (response.status, detail["reason"]) == (404, "USER_NOT_FOUND")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.PathNotFoundError("x"), 404),
        (errors.MethodNotFoundError("x"), 405),
        (errors.BodyTooLargeError(9), 413),
        (errors.UnsupportedMediaTypeError("x"), 415),
        (errors.MalformedRequestError("x"), 400),
        (errors.InternalError(), 500),
    ],
)
def test_what_the_gateway_refuses(error: errors.FanfareError, status: int) -> None:
    """Where HTTP has a finer status than gRPC, REST uses it."""
    assert refusal(error).status == status
