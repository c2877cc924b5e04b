"""The handler around each method, called as gRPC and as REST call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as pb
from google.protobuf.message import Message

from core.auth.authorizer import CountedCall, MethodAuthorizer
from core.auth.call_context import UNKNOWN_CALLER, Context, Metadata
from core.errors import (
    BodyTooLargeError,
    FanfareError,
    InternalError,
    InvalidRequestError,
    MalformedRequestError,
    PermissionDeniedError,
    UserNotFoundError,
)
from core.rpc.handlers import MethodHandler
from core.rpc.request_sizes import max_message_bytes
from core.runtime.callers import CALLER

GET_USER = pb.DESCRIPTOR.services_by_name["ReadService"].methods_by_name["GetUser"]
REQUEST = pb.GetUserRequest(user_id=7)
RESPONSE = pb.GetUserResponse(user=User(id=7, username="alice"))

Answer = Callable[[MethodHandler, pb.GetUserRequest], Awaitable[object]]


class _Call:
    """A call without metadata."""

    caller = UNKNOWN_CALLER
    metadata: Metadata = ()
    address = "192.0.2.1"
    certificate_names = ()


CONTEXT: Context = _Call()
COUNTED = CountedCall(CONTEXT, "7", "192.0.2.1")


async def _by_bytes(handler: MethodHandler, request: pb.GetUserRequest) -> object:
    answer = await handler.answer_bytes(request.SerializeToString(), CONTEXT)
    return pb.GetUserResponse.FromString(answer)


async def _by_message(handler: MethodHandler, request: pb.GetUserRequest) -> object:
    return await handler.answer_message(request, CONTEXT, await handler.count(CONTEXT))


both = pytest.mark.parametrize("answer", [_by_bytes, _by_message])


@both
@pytest.mark.parametrize("canned", [RESPONSE, RESPONSE.SerializeToString()])
async def test_a_method_may_answer_with_a_message_or_its_bytes(
    answer: Answer, canned: Message | bytes
) -> None:
    """Either protocol gets the form that it needs, and the method the request and the context."""
    seen: list[object] = []

    async def method(request: Any, context: Context) -> Message | bytes:
        seen.extend((request, context))
        return canned

    assert await answer(MethodHandler(GET_USER, method, None), REQUEST) == RESPONSE
    assert seen == [REQUEST, CONTEXT]


class _Rule(MethodAuthorizer):
    """Notes what a handler asks, and refuses at one of the two steps."""

    def __init__(self, refused_by: str = "") -> None:
        self.asked: list[str] = []
        self._refused_by = refused_by

    async def count(self, context: Context) -> CountedCall:
        assert context is CONTEXT
        self._ask("count")
        return COUNTED

    async def authorize(self, request: Message, call: CountedCall) -> None:
        assert (request, call) == (REQUEST, COUNTED)
        self._ask("authorize")

    def _ask(self, step: str) -> None:
        self.asked.append(step)
        if step == self._refused_by:
            raise PermissionDeniedError


@both
@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
async def test_without_authentication_callers_are_told_apart_by_address(
    answer: Answer, address: str, caller: str
) -> None:
    """The method's statements wait in this caller's turn for a connection to Postgres."""
    callers: list[tuple[str, ...]] = []

    async def method(_request: Any, _context: Context) -> bytes:
        callers.append(CALLER.get())
        return b""

    with patch.object(_Call, "address", address):
        await answer(MethodHandler(GET_USER, method, None), REQUEST)
    assert callers == [(caller, caller)]


@both
async def test_an_invalid_request_is_counted_but_not_authorized(answer: Answer) -> None:
    """Validation comes before authorize(), which reads fields of the request."""
    rule = _Rule()
    with pytest.raises(InvalidRequestError):
        await answer(MethodHandler(GET_USER, _unused, rule), pb.GetUserRequest())
    assert rule.asked == ["count"]


@both
@pytest.mark.parametrize("step", ["count", "authorize"])
async def test_a_call_that_is_refused_does_nothing(answer: Answer, step: str) -> None:
    """The authorizer's error is the caller's answer, and the method does not run."""
    with pytest.raises(PermissionDeniedError):
        await answer(MethodHandler(GET_USER, _unused, _Rule(step)), REQUEST)


async def test_a_call_is_counted_before_it_is_parsed() -> None:
    """A caller who has no calls left costs no parsing, and unusable bytes use up calls."""
    with pytest.raises(PermissionDeniedError):
        await MethodHandler(GET_USER, _unused, _Rule("count")).answer_bytes(b"\xff", CONTEXT)
    rule = _Rule()
    with pytest.raises(MalformedRequestError):
        await MethodHandler(GET_USER, _unused, rule).answer_bytes(b"\xff", CONTEXT)
    assert rule.asked == ["count"]


@both
@pytest.mark.parametrize(
    ("raised", "told"),
    [(UserNotFoundError(7), UserNotFoundError), (ValueError("hunter2"), InternalError)],
)
async def test_only_errors_of_the_contract_leave_a_handler(
    answer: Answer,
    raised: Exception,
    told: type[FanfareError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any other exception is logged with its traceback, and is INTERNAL to the caller."""

    async def method(_request: Any, _context: Context) -> bytes:
        raise raised

    with pytest.raises(told) as error:
        await answer(MethodHandler(GET_USER, method, None), REQUEST)
    assert "hunter2" not in str(error.value)
    assert ("call failed method=fanfare.read.v1.ReadService.GetUser" in caplog.text) == (
        told is InternalError
    )
    assert ("hunter2" in caplog.text) == (told is InternalError)


async def test_bytes_that_are_not_the_message_are_malformed() -> None:
    """Only gRPC's requests arrive as bytes."""
    with pytest.raises(MalformedRequestError, match=r"not a fanfare\.read\.v1\.GetUserRequest"):
        await MethodHandler(GET_USER, _unused, None).answer_bytes(b"\xff", CONTEXT)


async def test_bytes_above_the_limit_of_the_method_are_not_parsed() -> None:
    """The limit follows from the contract: no valid request of the method is that large."""
    handler = MethodHandler(GET_USER, _unused, None)
    limit = max_message_bytes(GET_USER.input_type)
    with pytest.raises(MalformedRequestError):
        await handler.answer_bytes(b"\xff" * limit, CONTEXT)
    with pytest.raises(BodyTooLargeError) as error:
        await handler.answer_bytes(b"\xff" * (limit + 1), CONTEXT)
    assert error.value.metadata == {"limit": str(limit)}


async def _unused(_request: Any, _context: Context) -> Any:
    raise AssertionError
