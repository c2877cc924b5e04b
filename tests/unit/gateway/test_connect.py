"""What the Connect protocol sends and reads, without a server."""

from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import pytest
from fanfare.read.v1 import read_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from helpers.grpc_server import READ, Silent

from core import errors
from core.rpc.error_status import to_status
from core.rpc.handlers import Handlers
from gateway.codecs import BinaryCodec, JsonCodec
from gateway.connect import (
    CODES,
    ConnectGet,
    ConnectStream,
    ConnectUnary,
    error_json,
)
from gateway.failures import HTTP_STATUSES

# The table of https://connectrpc.com/docs/protocol#error-codes.
TABLE = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}
GET_USER = READ.methods_by_name["GetUser"]
WATCH = READ.methods_by_name["WatchHomeTimeline"]


@pytest.fixture(scope="module")
def handlers() -> Handlers:
    """Return the handlers of a read service."""
    handlers = Handlers()
    handlers.add_service(READ, Silent())
    return handlers


@pytest.fixture
def binary(handlers: Handlers) -> BinaryCodec:
    """Return the binary codec of GetUser."""
    return BinaryCodec(GET_USER, handlers.of(GET_USER))


def _detail(detail: dict[str, Any], message: Any) -> Any:
    padding = "=" * (-len(detail["value"]) % 4)
    return type(message).FromString(base64.b64decode(detail["value"] + padding, validate=True))


def test_every_code_has_the_name_and_the_status_of_the_specification() -> None:
    """A client that reads no body infers the code from the HTTP status."""
    told = {CODES[code.value[0]]: status for code, status in HTTP_STATUSES.items()}
    assert told == TABLE


def test_the_details_of_an_error_are_those_of_grpc() -> None:
    """Each is a type, the message in base64 without padding, and its JSON for people."""
    error = errors.InvalidRequestError([("user_id", "must be greater than 0")])
    told = error_json(to_status(error))
    assert (told["code"], told["message"]) == ("invalid_argument", str(error))
    info, bad = told["details"]
    assert (info["type"], bad["type"]) == ("google.rpc.ErrorInfo", "google.rpc.BadRequest")
    assert _detail(info, ErrorInfo()).reason == "INVALID_REQUEST"
    assert _detail(bad, BadRequest()).field_violations[0].field == "user_id"
    assert info["debug"] == {
        "reason": "INVALID_REQUEST",
        "domain": "fanfare",
        "metadata": {"field": "user_id"},
    }


def test_an_error_of_a_unary_call_is_json_with_its_status(binary: BinaryCodec) -> None:
    """It is JSON even for a client of binary messages; it says when to retry."""
    answer = ConnectUnary(binary).refusal(errors.OverloadedError())
    assert (answer.status, answer.outcome) == (429, 429)
    assert answer.content_type == "application/json"
    assert answer.headers == {"Retry-After": "1"}
    told = json.loads(answer.body)
    assert _detail(told["details"][1], RetryInfo()).retry_delay.seconds == 1


def test_the_status_is_that_of_the_code(binary: BinaryCodec) -> None:
    """REST has a more specific one for some errors, which Connect does not know."""
    assert ConnectUnary(binary).refusal(errors.BodyTooLargeError(5)).status == 400
    unauthenticated = ConnectUnary(binary).refusal(errors.UnauthenticatedError())
    assert unauthenticated.headers == {"WWW-Authenticate": "Bearer"}


def test_an_error_of_a_stream_is_its_last_part() -> None:
    """The response is 200, but metrics count the status of the error."""
    protocol = ConnectStream(JsonCodec(WATCH))
    assert protocol.end(None) == b"\x02\x00\x00\x00\x02{}"
    answer = protocol.refusal(errors.UserNotFoundError(7))
    assert (answer.status, answer.outcome) == (200, 404)
    assert answer.content_type == "application/connect+json"
    assert answer.body[0] == 2
    assert json.loads(answer.body[5:])["error"]["code"] == "not_found"


def test_events_have_the_form_that_the_client_sent(handlers: Handlers) -> None:
    """A stream of binary messages passes them on; one of JSON prints each."""
    event = read_pb2.WatchHomeTimelineResponse(removed_tweet_id=2**60, resume_token="t")
    message = event.SerializeToString()
    codec = BinaryCodec(WATCH, handlers.of(WATCH))
    assert ConnectStream(codec).event(message) == bytes([0, 0, 0, 0, len(message)]) + message
    printed = ConnectStream(JsonCodec(WATCH)).event(message)
    assert printed[:5] == bytes([0, 0, 0, 0, len(printed) - 5])
    assert json.loads(printed[5:]) == {"removed_tweet_id": str(2**60), "resume_token": "t"}


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("5000", 5.0), ("1", 0.001), ("9999999999", 9999999.999)]
)
def test_a_timeout_is_in_milliseconds(
    binary: BinaryCodec, header: str | None, seconds: float | None
) -> None:
    """Without the header, there is none."""
    headers = {} if header is None else {"connect-timeout-ms": header}
    assert ConnectUnary(binary).timeout(headers) == seconds


@pytest.mark.parametrize("header", ["", "-1", "1.5", "1s", "12345678901", "٣"])
def test_a_timeout_of_another_form_is_malformed(binary: BinaryCodec, header: str) -> None:
    """It is at most ten digits."""
    with pytest.raises(errors.MalformedRequestError, match="timeout"):
        ConnectUnary(binary).timeout({"connect-timeout-ms": header})


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({}, None),
        ({"connect-protocol-version": "1", "content-encoding": "identity"}, None),
        ({"connect-protocol-version": "2"}, errors.MalformedRequestError),
        ({"content-encoding": "gzip"}, errors.UnsupportedEncodingError),
        ({"content-encoding": "x" * 1000}, errors.UnsupportedEncodingError),
    ],
)
def test_headers_are_checked(
    binary: BinaryCodec, headers: dict[str, str], problem: type[Exception] | None
) -> None:
    """The version may be left out. A compressed message is not supported."""
    if problem is None:
        ConnectUnary(binary).check(headers)
    else:
        with pytest.raises(problem):
            ConnectUnary(binary).check(headers)


def test_a_refusal_of_a_compressed_message_says_what_is_supported(
    binary: BinaryCodec,
) -> None:
    """Each kind of call has its own header for that."""
    error = errors.UnsupportedEncodingError("x")
    unary = ConnectUnary(binary).refusal(error)
    assert (unary.status, unary.headers) == (501, {"accept-encoding": "identity"})
    stream = ConnectStream(JsonCodec(WATCH)).refusal(error)
    assert (stream.status, stream.headers) == (200, {"connect-accept-encoding": "identity"})


MESSAGE = read_pb2.GetUserRequest(user_id=2**40).SerializeToString()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("message=%7B%22user_id%22%3A%221%22%7D&encoding=json&connect=v1", b'{"user_id":"1"}'),
        ("encoding=json&message=%7B%7D&compression=identity&unknown=1", b"{}"),
        (f"base64=1&message={base64.urlsafe_b64encode(MESSAGE).decode()}", MESSAGE),
        (f"base64=1&message={base64.urlsafe_b64encode(MESSAGE).decode().rstrip('=')}", MESSAGE),
        ("base64=1&message=-_-_", b"\xfb\xff\xbf"),
        ("base64=0&message=abcd", b"abcd"),
        ("message=%08%01", b"\x08\x01"),
        ("message=", b""),
        ("base64=1&message=", b""),
    ],
)
async def test_the_message_is_in_the_query(binary: BinaryCodec, query: str, message: bytes) -> None:
    """Parameters may come in any order, and unknown ones are ignored."""
    protocol = ConnectGet(binary, query)
    protocol.check({"connect-protocol-version": "7", "content-encoding": "gzip"})
    assert await protocol.receive(None) == message  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("encoding=json", errors.MalformedRequestError),
        ("message=a", errors.MalformedRequestError),
        ("message=a%25b", errors.MalformedRequestError),
        ("message=!!!!", errors.MalformedRequestError),
        ("message=ä", errors.MalformedRequestError),
        ("base64=0&message=%FF", errors.MalformedRequestError),
        ("base64=0&message=\udcff", errors.MalformedRequestError),
        ("message=" + "A" * 20_000, errors.BodyTooLargeError),
    ],
)
async def test_a_query_without_a_readable_message_is_refused(
    binary: BinaryCodec, query: str, problem: type[Exception]
) -> None:
    """The limit is that of a body."""
    protocol = ConnectGet(binary, "base64=1&" + query)
    with pytest.raises(problem):
        await protocol.receive(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("connect=v2", errors.MalformedRequestError),
        ("compression=gzip", errors.UnsupportedEncodingError),
    ],
)
def test_the_parameters_are_checked(
    binary: BinaryCodec, query: str, problem: type[Exception]
) -> None:
    """A GET says in its query what a POST says in its headers."""
    with pytest.raises(problem):
        ConnectGet(binary, query).check({})


def test_codes_are_all_of_grpc() -> None:
    """Each error of the services has a code that the protocol has."""
    assert {code.value[0] for code in grpc.StatusCode} == set(CODES)
