"""What is recorded about calls, and that an unsampled call costs nothing."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from statistics import mode
from typing import Any

import pytest
from fanfare.read.v1 import read_pb2 as pb
from helpers.fakes.tracing import SAMPLED, TRACE_ID, UNSAMPLED, FakeTracer

from core.auth.access_tokens import Caller
from core.auth.call_context import UNKNOWN_CALLER, Context, Metadata
from core.errors import UserNotFoundError
from core.rpc import observed_calls
from core.rpc.handlers import Handlers, MethodHandler
from core.rpc.observed_calls import CallObserver
from core.runtime import access_log, tracing
from core.runtime.access_log import AccessLog
from core.runtime.tracing import CURRENT, CallTracer
from core.settings import LogFormat

SERVICE = pb.DESCRIPTOR.services_by_name["ReadService"]
GET_USER = SERVICE.methods_by_name["GetUser"]
NAME = "fanfare.read.v1.ReadService/GetUser"
REQUEST = pb.GetUserRequest(user_id=7).SerializeToString()


class _Call:
    """A call of a user."""

    address = "192.0.2.1"
    certificate_names = ()

    def __init__(self, traceparent: str | None = None) -> None:
        self.caller = UNKNOWN_CALLER
        self.metadata: Metadata = [("user-agent", "test")]
        if traceparent is not None:
            self.metadata = [("user-agent", "test"), ("traceparent", traceparent)]


class _Servicer:
    """Answers GetUser as a test says."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __getattr__(self, _name: str) -> object:
        return self._answer

    async def _answer(self, _request: Any, context: Context) -> bytes:
        context.caller = Caller(user_id=7)
        self.seen = CURRENT.get()
        if self.error is not None:
            raise self.error
        return b""


def _handler(observer: CallObserver | None, servicer: object) -> MethodHandler:
    served = Handlers(observer=observer)
    served.add_service(SERVICE, servicer)
    handler = served.of(GET_USER)
    assert isinstance(handler, MethodHandler)
    return handler


@pytest.fixture
def servicer() -> _Servicer:
    """Return a servicer whose methods succeed."""
    return _Servicer()


@pytest.fixture
def tracer() -> FakeTracer:
    """Return a tracer without spans."""
    return FakeTracer()


@pytest.fixture
def lines() -> list[str]:
    """Return what the access log has written."""
    return []


@pytest.fixture
def handler(servicer: _Servicer, tracer: FakeTracer, lines: list[str]) -> MethodHandler:
    """Return a handler that is traced where the caller wants it, and logged."""
    log = AccessLog(LogFormat.TEXT, lines.append, lambda: 0.5)
    return _handler(CallObserver(CallTracer(tracer, 0.0), log), servicer)


async def test_the_method_runs_within_the_span(
    handler: MethodHandler, servicer: _Servicer, tracer: FakeTracer
) -> None:
    """The span says who called, and how the call ended."""
    await handler.answer_bytes(REQUEST, _Call(SAMPLED))
    (span,) = tracer.spans
    assert servicer.seen is span
    assert CURRENT.get() is None
    assert (span.name, span.parent, span.error) == (NAME, SAMPLED, "")
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": NAME,
        "rpc.response.status_code": "OK",
        "fanfare.caller": "user",
        "fanfare.request.bytes": len(REQUEST),
        "user.id": "7",
    }


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (UserNotFoundError(7), "NOT_FOUND", "USER_NOT_FOUND"),
        (ValueError("secret"), "INTERNAL", "INTERNAL"),
        (asyncio.CancelledError(), "CANCELLED", "CancelledError"),
    ],
)
async def test_a_call_that_fails(
    handler: MethodHandler,
    servicer: _Servicer,
    tracer: FakeTracer,
    lines: list[str],
    error: BaseException,
    code: str,
    kind: str,
) -> None:
    """Its span and its line have the code and the reason, and never a text."""
    servicer.error = error
    with pytest.raises((UserNotFoundError, Exception, asyncio.CancelledError)):
        await handler.answer_bytes(REQUEST, _Call(SAMPLED))
    await asyncio.sleep(2 * access_log.FLUSH_SECONDS)
    (span,) = tracer.spans
    assert (span.error, span.attributes["rpc.response.status_code"]) == (kind, code)
    (line,) = lines
    assert f" code={code} " in line
    assert "secret" not in line + repr(tracer.spans)


@pytest.mark.parametrize(
    ("traceparent", "trace_id"), [(UNSAMPLED, TRACE_ID), ("x\ny", "-"), (None, "-")]
)
async def test_each_call_has_a_line(
    handler: MethodHandler,
    tracer: FakeTracer,
    lines: list[str],
    traceparent: str | None,
    trace_id: str,
) -> None:
    """It has the caller's trace id, if that is one, even if the call is not sampled."""
    await handler.answer_bytes(REQUEST, _Call(traceparent))
    await asyncio.sleep(2 * access_log.FLUSH_SECONDS)
    assert not tracer.spans
    (line,) = lines
    head, _, tail = line.partition(" ms=")
    assert head.endswith(f' transport=grpc name="{NAME}" code=OK reason=-')
    assert tail.partition(" ")[2] == (
        f"caller=user request_bytes={len(REQUEST)} trace_id={trace_id}\n"
    )


class _Measuring:
    """Notes how many blocks of memory are in use while a method runs, and which."""

    def __init__(self) -> None:
        self.blocks = 0
        self.snapshot: tracemalloc.Snapshot | None = None

    def __getattr__(self, _name: str) -> object:
        return self._answer

    async def _answer(self, _request: Any, _context: Context) -> bytes:
        self.blocks = sys.getallocatedblocks()
        if tracemalloc.is_tracing():
            self.snapshot = tracemalloc.take_snapshot()
        return b""


async def _blocks_held(observer: CallObserver | None, call: _Call) -> int:
    """Return how many blocks a call holds while its method runs."""
    measuring = _Measuring()
    handler = _handler(observer, measuring)
    held = []
    for _ in range(50):
        before = sys.getallocatedblocks()
        await handler.answer_bytes(REQUEST, call)
        held.append(measuring.blocks - before)
    # The interpreter fills caches in the first calls, and other threads allocate and free now and
    # then.
    return mode(held)


@pytest.mark.parametrize("traceparent", [None, UNSAMPLED])
async def test_nothing_is_allocated_for_an_unsampled_call(
    tracer: FakeTracer, traceparent: str | None
) -> None:
    """It holds as many blocks of memory as in a process without traces, none of them of tracing."""
    observer = CallObserver(CallTracer(tracer, 0.0), None)
    plain = await _blocks_held(None, _Call(traceparent))
    assert await _blocks_held(observer, _Call(traceparent)) == plain
    assert await _blocks_held(observer, _Call(SAMPLED)) > plain
    measuring = _Measuring()
    handler = _handler(observer, measuring)
    tracemalloc.start()
    try:
        await handler.answer_bytes(REQUEST, _Call(traceparent))
    finally:
        tracemalloc.stop()
    assert measuring.snapshot is not None
    patterns = (tracing.__file__, observed_calls.__file__, "*/opentelemetry/*")
    filters = [tracemalloc.Filter(inclusive=True, filename_pattern=each) for each in patterns]
    assert list(measuring.snapshot.filter_traces(filters).traces) == []


async def test_a_process_without_traces_and_access_log_has_plain_handlers() -> None:
    """Its calls pay nothing at all."""
    assert type(_handler(None, _Servicer())) is MethodHandler
