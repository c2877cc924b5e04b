"""Spans by OpenTelemetry's SDK, exported by OTLP over gRPC in the background.

This is the only module that imports opentelemetry, so that it need not be installed otherwise. What
the SDK would read from variables OTEL_* is given explicitly here (docs/decisions/0042).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OpenTelemetrySpan
from opentelemetry.trace import Tracer as OpenTelemetryTracer

from core.runtime.build_info import version
from core.runtime.metrics import METRICS, Metric
from core.runtime.tracing import Attributes, Kind, Span, parse_traceparent

LOG = logging.getLogger(__name__)
# Spans that wait to be exported, a few MB at most. More are dropped, and counted.
MAX_QUEUED = 4096
MAX_BATCH = 512
EXPORT_INTERVAL_SECONDS = 1.0
# How long the collector may take for a batch, with all retries.
EXPORT_SECONDS = 5.0
# How long a process that stops waits for its last spans to be exported.
FLUSH_SECONDS = 3.0
# How long it then takes at most until the thread has noticed that they are given up.
ABORT_SECONDS = 1.0
_KINDS = {kind: SpanKind[kind.name] for kind in Kind}


class OtelSpan:
    """The Span protocol on a span of the SDK."""

    __slots__ = ("_span", "_tracer", "trace_id", "traceparent")

    def __init__(self, tracer: OpenTelemetryTracer, span: OpenTelemetrySpan) -> None:
        self._tracer = tracer
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.traceparent = f"00-{self.trace_id}-{context.span_id:016x}-{context.trace_flags:02x}"

    def begin_child(self, name: str, kind: Kind) -> Span:
        """See Span."""
        context = set_span_in_context(self._span, Context())
        return OtelSpan(self._tracer, self._tracer.start_span(name, context, _KINDS[kind]))

    def set(self, attributes: Attributes) -> None:
        """See Span."""
        self._span.set_attributes(attributes)

    def end(self, error: str = "") -> None:
        """See Span."""
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class OtelTracer:
    """The Tracer protocol on the SDK."""

    def __init__(self, tracer: OpenTelemetryTracer) -> None:
        """Begin spans by this tracer."""
        self._tracer = tracer

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Attributes,
        links: Sequence[str] = (),
    ) -> Span:
        """See Tracer."""
        context = Context()
        if (remote := _context_of(parent)) is not None:
            context = set_span_in_context(NonRecordingSpan(remote), context)
        linked = [Link(each) for each in map(_context_of, links) if each is not None]
        span = self._tracer.start_span(name, context, _KINDS[kind], attributes, linked)
        return OtelSpan(self._tracer, span)


def _context_of(traceparent: str | None) -> SpanContext | None:
    parsed = parse_traceparent(traceparent)
    if parsed is None:
        return None
    trace_id, span_id, flags = parsed
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(flags)
    )


class ExportQueue(sdk.SpanProcessor):
    """Exports ended spans in the background, in a thread of its own.

    The SDK has such a queue too, but it does not tell how many spans it dropped, and when a process
    stops it waits as long as the exporter likes.
    """

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        """Start the thread.

        Args:
            exporter: sends the spans.
            endpoint: where to, for the log.
        """
        self._exporter = exporter
        self._endpoint = endpoint
        self._spans: deque[sdk.ReadableSpan] = deque()
        self._is_failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_end(self, span: sdk.ReadableSpan) -> None:
        """Queue an ended span, or drop it if too many wait."""
        if len(self._spans) >= MAX_QUEUED or self._stopping.is_set():
            METRICS.add(Metric.SPAN_DROPPED)
        else:
            self._spans.append(span)

    def shutdown(self) -> None:
        """Export what waits, for FLUSH_SECONDS at most, and stop; what is left is dropped."""
        self._stopping.set()
        self._thread.join(FLUSH_SECONDS)
        # From here on every export fails at once.
        self._exporter.shutdown()
        self._thread.join(ABORT_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(EXPORT_INTERVAL_SECONDS):
            self._export_all()
        self._export_all()

    def _export_all(self) -> None:
        while batch := [self._spans.popleft() for _ in range(min(MAX_BATCH, len(self._spans)))]:
            try:
                is_exported = self._exporter.export(batch) is SpanExportResult.SUCCESS
            except Exception:
                LOG.exception("spans cannot be exported; this is a bug")
                is_exported = False
            if not is_exported:
                METRICS.add(Metric.SPAN_DROPPED, len(batch))
            self._note(is_failing=not is_exported)

    def _note(self, *, is_failing: bool) -> None:
        """Log when exporting begins to fail, and when it works again."""
        if is_failing and not self._is_failing:
            LOG.warning("spans cannot be exported; dropping them: endpoint=%s", self._endpoint)
        elif self._is_failing and not is_failing:
            LOG.info("spans are exported again: endpoint=%s", self._endpoint)
        self._is_failing = is_failing


@asynccontextmanager
async def exporting(endpoint: str, program: str) -> AsyncIterator[OtelTracer]:
    """Export spans while the context lasts; yield what begins them.

    Args:
        endpoint: where a collector takes OTLP over gRPC, as in http://127.0.0.1:4317.
        program: "write", "read" or "worker".
    """
    # The exporter logs each of its attempts. ExportQueue logs whether spans arrive.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = OTLPSpanExporter(
        endpoint,
        insecure=endpoint.startswith("http://"),
        timeout=EXPORT_SECONDS,
        # The exporter's annotation knows only options that are text.
        channel_options=(("grpc.enable_http_proxy", 0),),  # type: ignore[arg-type]
    )
    provider = sdk.TracerProvider(ALWAYS_ON, _resource(program), shutdown_on_exit=False)
    queue = ExportQueue(exporter, endpoint)
    provider.add_span_processor(queue)
    try:
        yield OtelTracer(provider.get_tracer("fanfare"))
    finally:
        await asyncio.to_thread(queue.shutdown)


def _resource(program: str) -> Resource:
    """Return what tells this process apart; OTEL_RESOURCE_ATTRIBUTES may add to it."""
    return Resource.create(
        {
            "service.namespace": "fanfare",
            "service.name": f"fanfare-{program}",
            "service.version": version(),
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
    )
