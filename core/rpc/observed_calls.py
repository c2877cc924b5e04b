"""What is recorded about calls one by one: spans of those that are traced, and the access log."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Token
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor

from core.auth.access_tokens import Caller
from core.auth.call_context import Context, Metadata
from core.errors import FanfareError
from core.runtime.access_log import AccessLog, CallRecord
from core.runtime.metrics_ports import Program
from core.runtime.tracing import (
    CURRENT,
    TRACEPARENT,
    Attributes,
    CallTracer,
    Span,
    Tracer,
    error_type,
    trace_id_of,
)
from core.runtime.tracing_choice import tracing
from core.settings import Settings

Result = TypeVar("Result")


@dataclass(frozen=True)
class CallKind:
    """What is known about all calls of a method over gRPC, or of a route over REST."""

    transport: str
    """grpc or rest."""
    name: str
    """The method with its service, or the verb and the template of the path."""
    attributes: Attributes
    """What their spans say."""


class CallObserver:
    """Begins to observe calls."""

    def __init__(self, tracer: CallTracer | None, access_log: AccessLog | None) -> None:
        """Take what observes.

        Args:
            tracer: traces calls; None if traces are off.
            access_log: gets a line for each call; None if it is off.
        """
        self._tracer = tracer
        self._access_log = access_log

    def begin(
        self, kind: CallKind, traceparent: str | None, context: Context, request_bytes: int | None
    ) -> ObservedCall | None:
        """Begin to observe a call, if it is traced or the access log is on.

        Args:
            kind: what it calls.
            traceparent: what the caller sent.
            context: the call, whose caller may become known later.
            request_bytes: the size of the request; None if it is not known.
        """
        span = None
        if self._tracer is not None:
            span = self._tracer.begin(kind.name, traceparent, kind.attributes)
        if span is None and self._access_log is None:
            return None
        return ObservedCall(kind, span, traceparent, context, request_bytes, self._access_log)


class ObservedCall:
    """A call that is being observed: the current task works for its span until end()."""

    __slots__ = (
        "_access_log",
        "_began",
        "_context",
        "_kind",
        "_request_bytes",
        "_span",
        "_token",
        "_traceparent",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - plain facts about the call
        self,
        kind: CallKind,
        span: Span | None,
        traceparent: str | None,
        context: Context,
        request_bytes: int | None,
        access_log: AccessLog | None,
    ) -> None:
        self._kind = kind
        self._span = span
        self._traceparent = traceparent
        self._context = context
        self._request_bytes = request_bytes
        self._access_log = access_log
        self._began = time.perf_counter()
        self._token: Token[Span | None] | None = None if span is None else CURRENT.set(span)

    def end(self, code: str, error: BaseException | None = None) -> None:
        """Record how the call ended.

        Args:
            code: the gRPC code, or the HTTP status.
            error: what the caller gets instead of an answer.
        """
        if self._token is not None:
            CURRENT.reset(self._token)
        caller = self._context.caller
        if self._span is not None:
            self._span.set(_attributes(self._kind.transport, code, caller, self._request_bytes))
            self._span.end("" if error is None else error_type(error))
        if self._access_log is not None:
            span = self._span
            self._access_log.add(
                CallRecord(
                    self._kind.transport,
                    self._kind.name,
                    code,
                    error.reason_name if isinstance(error, FanfareError) else "",
                    time.perf_counter() - self._began,
                    _kind_of(caller),
                    self._request_bytes,
                    span.trace_id if span is not None else trace_id_of(self._traceparent),
                )
            )


def traceparent_in(metadata: Metadata) -> str | None:
    """Return the traceparent in the metadata of a gRPC call; None if there is none."""
    for key, value in metadata:
        if key == TRACEPARENT:
            return value if isinstance(value, str) else None
    return None


def grpc_kind(method: MethodDescriptor) -> CallKind:
    """Return what is known about all calls of a method over gRPC."""
    name = f"{method.containing_service.full_name}/{method.name}"
    return CallKind("grpc", name, {"rpc.system.name": "grpc", "rpc.method": name})


async def end_after(answering: Coroutine[Any, Any, Result], observed: ObservedCall) -> Result:
    """Return what answers a call over gRPC, and record how the call ended."""
    try:
        answer = await answering
    except FanfareError as error:
        observed.end(error.code.name, error)
        raise
    except BaseException as error:
        observed.end("CANCELLED", error)
        raise
    observed.end("OK")
    return answer


@asynccontextmanager
async def observing(
    settings: Settings, program: Program
) -> AsyncIterator[tuple[CallObserver | None, Tracer | None]]:
    """Observe calls as the settings say while the context lasts.

    Yields:
        What observes calls, or None if traces and the access log are off; and what begins other
        spans, or None if traces are off.

    Raises:
        StartError: traces are on, but the packages for them are not installed.
    """
    access_log = AccessLog(settings.log_format) if settings.access_log else None
    async with tracing(settings, program) as tracer:
        calls = None if tracer is None else CallTracer(tracer, settings.traces_sample)
        try:
            is_on = calls is not None or access_log is not None
            yield CallObserver(calls, access_log) if is_on else None, tracer
        finally:
            if access_log is not None:
                access_log.flush()


def _kind_of(caller: Caller) -> str:
    if caller.user_id is not None:
        return "user"
    return "service" if caller.service else "unknown"


def _attributes(
    transport: str, code: str, caller: Caller, request_bytes: int | None
) -> dict[str, str | int]:
    """Return what is known about a call at its end; never what it is about, nor its address."""
    attributes: dict[str, str | int] = {"fanfare.caller": _kind_of(caller)}
    if transport == "grpc":
        attributes["rpc.response.status_code"] = code
    else:
        attributes["http.response.status_code"] = int(code)
    if caller.user_id is not None:
        attributes["user.id"] = str(caller.user_id)
    if request_bytes is not None:
        attributes["fanfare.request.bytes"] = request_bytes
    return attributes
