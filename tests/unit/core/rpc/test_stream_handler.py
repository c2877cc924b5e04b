"""The handler around a method that answers with a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from fanfare.read.v1 import read_pb2 as pb
from google.protobuf.message import Message
from helpers.fakes.tracing import SAMPLED, FakeTracer

from core.auth.access_tokens import Caller
from core.auth.authorizer import CountedCall, MethodAuthorizer
from core.auth.call_context import UNKNOWN_CALLER, Context, Metadata
from core.errors import (
    BodyTooLargeError,
    FanfareError,
    InternalError,
    InvalidRequestError,
    MalformedRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
    UserNotFoundError,
)
from core.rpc.observed_calls import CallObserver
from core.rpc.request_sizes import max_message_bytes
from core.rpc.stream_handler import StreamHandler, StreamMethod
from core.rpc.streams import Streams
from core.runtime import access_log
from core.runtime.access_log import AccessLog
from core.runtime.tracing import CURRENT, CallTracer
from core.settings import LogFormat
from core.watch_errors import TooManyWatchesError, WatchEndedError

WATCH = pb.DESCRIPTOR.services_by_name["ReadService"].methods_by_name["WatchHomeTimeline"]
NAME = "fanfare.read.v1.ReadService/WatchHomeTimeline"
REQUEST = pb.WatchHomeTimelineRequest(user_id=7)
BYTES = REQUEST.SerializeToString()


class _Call:
    """A call without a token."""

    address = "192.0.2.1"
    certificate_names = ()

    def __init__(self) -> None:
        self.caller = UNKNOWN_CALLER
        self.metadata: Metadata = [("traceparent", SAMPLED)]


class _Rule(MethodAuthorizer):
    """Notes what a handler asks, and refuses at one of the steps."""

    def __init__(self, refused_by: str = "", counted_by: str = "7") -> None:
        self.asked: list[str] = []
        self.refused_by = refused_by
        self._counted_by = counted_by

    async def count(self, context: Context) -> CountedCall:
        self._ask("count", PermissionDeniedError)
        context.caller = Caller(user_id=7)
        return CountedCall(context, self._counted_by, "192.0.2.1")

    async def authorize(self, request: Message, call: CountedCall) -> None:
        assert (request, call.counted_by) == (REQUEST, self._counted_by)
        self._ask("authorize", PermissionDeniedError)

    def check_caller(self, context: Context) -> None:
        assert context.caller == Caller(user_id=7)
        self._ask("check", UnauthenticatedError)

    def _ask(self, step: str, error: type[FanfareError]) -> None:
        self.asked.append(step)
        if step == self.refused_by:
            raise error


async def _three(_request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
    for event in (b"1", b"2", b"3"):
        yield event


async def _unused(_request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
    for event in (b"",):
        raise AssertionError
        yield event


def _handler(
    method: StreamMethod,
    rule: MethodAuthorizer | None = None,
    streams: Streams | None = None,
    observer: CallObserver | None = None,
) -> StreamHandler:
    return StreamHandler(WATCH, method, rule, streams or Streams(), observer)


async def _events(handler: StreamHandler, request: bytes | Message = BYTES) -> list[bytes]:
    sent: list[bytes] = []
    context = _Call()
    if isinstance(request, bytes):

        async def send(event: bytes) -> None:
            sent.append(event)

        await handler.send(request, context, send)
    else:
        call = await handler.count(context)
        async with aclosing(handler.stream(request, context, call)) as events:
            sent += [event async for event in events]
    return sent


both = pytest.mark.parametrize("request_", [BYTES, REQUEST])


@both
async def test_the_steps_come_in_order(request_: bytes | Message) -> None:
    """As for every other method; before each event the token is looked at again."""
    rule = _Rule()
    assert await _events(_handler(_three, rule), request_) == [b"1", b"2", b"3"]
    assert rule.asked == ["count", "authorize", "check", "check", "check"]
    assert await _events(_handler(_three), request_) == [b"1", b"2", b"3"]


@both
@pytest.mark.parametrize("step", ["count", "authorize"])
async def test_a_call_that_is_refused_does_nothing(request_: bytes | Message, step: str) -> None:
    """The method does not run, and no stream is counted."""
    rule, streams = _Rule(step), Streams(most=0)
    with pytest.raises(PermissionDeniedError):
        await _events(_handler(_unused, rule, streams), request_)


async def test_unusable_requests_are_refused() -> None:
    """They are counted, and never authorized."""
    limit = max_message_bytes(WATCH.input_type)
    for request, error in (
        (b"\xff", MalformedRequestError),
        (b"\xff" * (limit + 1), BodyTooLargeError),
        (pb.WatchHomeTimelineRequest(), InvalidRequestError),
        (pb.WatchHomeTimelineRequest(user_id=1, limit=-1), InvalidRequestError),
        (pb.WatchHomeTimelineRequest(user_id=1, resume_token="x" * 4097), InvalidRequestError),
    ):
        rule = _Rule()
        with pytest.raises(error):
            await _events(_handler(_unused, rule), request)
        assert rule.asked == ["count"]


async def test_a_stream_ends_with_its_token() -> None:
    """The event that comes after the end of the token is not sent, and the method is closed."""
    rule, sent, closed = _Rule(), [], asyncio.Event()

    async def method(_request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
        try:
            yield b"1"
            rule.refused_by = "check"
            yield b"2"
        finally:
            closed.set()

    async def send(event: bytes) -> None:
        sent.append(event)

    with pytest.raises(UnauthenticatedError):
        await _handler(method, rule).send(BYTES, _Call(), send)
    assert sent == [b"1"]
    assert closed.is_set()


async def test_streams_are_counted_by_caller() -> None:
    """Services have no limit of their own, nor has anybody where authentication is off."""
    for rule, is_limited in ((_Rule(), True), (_Rule(counted_by=""), False), (None, False)):
        streams = Streams(most_per_caller=1)
        handler = _handler(_three, rule, streams)
        with streams.opened("7"):
            if is_limited:
                with pytest.raises(TooManyWatchesError):
                    await _events(handler)
            else:
                assert len(await _events(handler)) == 3
        assert len(await _events(handler)) == 3
        assert streams.count == 0


async def test_nothing_is_computed_ahead() -> None:
    """The method goes on only when the next event is asked for."""
    made = []

    async def method(_request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
        for number in range(3):
            made.append(number)
            yield b"x"

    async with aclosing(_handler(method).stream(REQUEST, _Call(), None)) as events:
        await anext(events)
        await asyncio.sleep(0)
        assert made == [0]


async def test_a_consumer_that_stops_closes_the_method() -> None:
    """In its own task, so that the stream counts no longer when the consumer goes on."""
    streams, closed = Streams(), asyncio.Event()

    async def method(_request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
        try:
            yield b"1"
        finally:
            closed.set()

    async with aclosing(_handler(method, None, streams).stream(REQUEST, _Call(), None)) as events:
        await anext(events)
        assert streams.count == 1
    assert closed.is_set()
    assert streams.count == 0


@both
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (UserNotFoundError(7), UserNotFoundError),
        (ValueError("hunter2"), InternalError),
        (StopAsyncIteration(), InternalError),
    ],
)
async def test_only_errors_of_the_contract_leave_a_handler(
    request_: bytes | Message,
    raised: Exception,
    told: type[FanfareError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any other exception is logged with its traceback, and is INTERNAL to the caller."""

    async def method(_request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
        yield b"1"
        raise raised

    with pytest.raises(told):
        await _events(_handler(method), request_)
    name = "call failed method=fanfare.read.v1.ReadService.WatchHomeTimeline"
    assert (name in caplog.text) == (told is InternalError)


async def test_a_drain_ends_a_stream_before_and_after_its_first_event() -> None:
    """Its client gets the same error."""
    for count in (0, 1):
        streams, waiting = Streams(), asyncio.Event()

        async def method(
            _request: Any,
            _context: Context,
            count: int = count,
            waiting: asyncio.Event = waiting,
        ) -> AsyncGenerator[bytes, None]:
            for _ in range(count):
                yield b"x"
            waiting.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(_events(_handler(method, None, streams)))
        await waiting.wait()
        streams.close()
        with pytest.raises(WatchEndedError):
            await task


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (None, "OK", ""),
        (UserNotFoundError(7), "NOT_FOUND", "USER_NOT_FOUND"),
        (asyncio.CancelledError(), "CANCELLED", "CancelledError"),
    ],
)
async def test_a_stream_is_observed_until_its_end(
    error: BaseException | None, code: str, kind: str
) -> None:
    """It has one span and one line, with what ended it."""
    lines: list[str] = []
    tracer = FakeTracer()
    log = AccessLog(LogFormat.TEXT, lines.append, lambda: 0.5)
    seen = []

    async def method(_request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
        yield b"1"
        seen.append(CURRENT.get())
        if error is not None:
            raise error

    handler = _handler(method, None, None, CallObserver(CallTracer(tracer, 0.0), log))
    task = asyncio.create_task(_events(handler))
    await asyncio.wait([task])
    if error is None:
        assert task.result() == [b"1"]
    await asyncio.sleep(2 * access_log.FLUSH_SECONDS)
    (span,) = tracer.spans
    assert seen == [span]
    assert (span.name, span.error) == (NAME, kind)
    (line,) = lines
    assert f'transport=grpc name="{NAME}" code={code} ' in line
