"""Traces of sampled calls: what the code that is traced uses. OpenTelemetry stays behind it.

A span that is under way is in CURRENT while its task or thread works for it. Unsampled calls, which
are nearly all, have none: then nothing here creates an object. Trace contexts are passed on between
processes as a `traceparent` of W3C Trace Context.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from enum import Enum, auto
from types import TracebackType
from typing import Protocol

from core.errors import FanfareError
from core.runtime.metrics import METRICS, Metric

TRACEPARENT = "traceparent"
"""The name of the HTTP header, of the gRPC metadata and of the header of a Kafka record."""

# How many calls of a process are sampled in a second at most. Callers decide whether their calls
# are sampled, and each sampled call costs some 100 µs more.
MAX_SAMPLED_PER_SECOND = 200

# Version, trace id, id of the parent span, flags; later versions may have more.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)
_LENGTH = 55
_SAMPLED = 1

Attributes = Mapping[str, str | int]


class Kind(Enum):
    """What a span is to the processes before and after it, as in OpenTelemetry."""

    SERVER = auto()
    CLIENT = auto()
    INTERNAL = auto()
    PRODUCER = auto()
    CONSUMER = auto()


class Span(Protocol):
    """A part of a trace that has begun. Attributes never hold texts, names or secrets."""

    traceparent: str
    """Its context, for spans of other processes."""
    trace_id: str
    """The id of the whole trace: 32 hexadecimal digits."""

    def begin_child(self, name: str, kind: Kind) -> Span:
        """Begin a span for a part of this one."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def end(self, error: str = "") -> None:
        """End the span; error is the type of what made it fail, or empty."""


class Tracer(Protocol):
    """Begins spans."""

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Attributes,
        links: Sequence[str] = (),
    ) -> Span:
        """Begin a span.

        Args:
            name: what is done; one of few names.
            kind: what it is to others.
            parent: the traceparent that it continues; None to begin a new trace.
            attributes: what is known about it.
            links: the traceparents of spans that have led to it besides the parent.
        """


CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)
"""The span that the current task or thread works for; None unless it is sampled."""


class _Ended(AbstractContextManager[None]):
    """Ends a span with the context; an exception makes the span a failed one."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._span.end("" if error is None else error_type(error))


class _Current(_Ended):
    """Makes a span the current one while the context lasts, then ends it."""

    __slots__ = ("_token",)

    _token: Token[Span | None]

    def __enter__(self) -> None:
        self._token = CURRENT.set(self._span)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        CURRENT.reset(self._token)
        super().__exit__(kind, error, traceback)


_NOTHING = nullcontext()


def child_span(name: str) -> AbstractContextManager[object]:
    """Return a context that is a span within the current one, if there is a current one."""
    current = CURRENT.get()
    return _NOTHING if current is None else _Current(current.begin_child(name, Kind.INTERNAL))


def client_span(server: str) -> AbstractContextManager[object]:
    """Return a context that is a span for what a server does, if there is a current span.

    The span does not become the current one: what goes on in the context belongs to the caller.
    """
    current = CURRENT.get()
    return _NOTHING if current is None else _Ended(current.begin_child(server, Kind.CLIENT))


def current_traceparent() -> str | None:
    """Return the traceparent of the current span; None unless the call is sampled."""
    current = CURRENT.get()
    return None if current is None else current.traceparent


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace id in a traceparent, sampled or not; None if it is not a valid one."""
    context = parse_traceparent(traceparent)
    return None if context is None else context[0]


def parse_traceparent(traceparent: str | None) -> tuple[str, str, int] | None:
    """Return the trace id, the span id and the flags; None if the traceparent is not valid."""
    if traceparent is None or (match := _TRACEPARENT.fullmatch(traceparent)) is None:
        return None
    trace_id, span_id, flags, more = match.groups()
    if more is not None and traceparent.startswith("00"):
        return None
    return trace_id, span_id, int(flags, 16)


def is_sampled(traceparent: str) -> bool:
    """Return whether a traceparent is valid and of a sampled trace."""
    # Most are not sampled, which the last digit shows.
    if len(traceparent) == _LENGTH and traceparent[-1] in "02468ace":
        return False
    context = parse_traceparent(traceparent)
    return context is not None and bool(context[2] & _SAMPLED)


class CallTracer:
    """Decides which calls are sampled, and begins their spans."""

    def __init__(
        self,
        tracer: Tracer,
        ratio: float,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Trace by a tracer.

        Args:
            tracer: begins the spans.
            ratio: the part of the calls without a traceparent that is sampled, from 0 to 1.
            draw: returns a number from 0 to below 1.
            clock: returns seconds.
        """
        self._tracer = tracer
        self._ratio = ratio
        self._draw = draw
        self._clock = clock
        self._second = 0
        self._sampled = 0

    def begin(self, name: str, traceparent: str | None, attributes: Attributes) -> Span | None:
        """Begin the span of a call; return None if the call is not sampled.

        Args:
            name: the method or the route.
            traceparent: what the caller sent; its decision wins over the ratio.
            attributes: what is known about the call.
        """
        if traceparent is None:
            if self._draw() >= self._ratio:
                return None
        elif not is_sampled(traceparent):
            return None
        second = int(self._clock())
        if second != self._second:
            self._second, self._sampled = second, 0
        self._sampled += 1
        if self._sampled > MAX_SAMPLED_PER_SECOND:
            METRICS.add(Metric.TRACE_REFUSED)
            return None
        return self._tracer.begin(name, Kind.SERVER, traceparent, attributes)


def error_type(error: BaseException) -> str:
    """Return the reason of an error that callers see, or the name of its class; never its text."""
    return error.reason_name if isinstance(error, FanfareError) else type(error).__name__
