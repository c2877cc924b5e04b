"""Spans of OpenTelemetry, and the queue that exports them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from helpers.fakes.tracing import SAMPLED, TRACE_ID
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from core.runtime import open_telemetry
from core.runtime.environment import ignore_foreign_variables
from core.runtime.metrics import METRICS, Metric
from core.runtime.open_telemetry import ExportQueue, OtelTracer
from core.runtime.tracing import Kind


class _Exporter(SpanExporter):
    """Keeps spans; while it is blocked it hangs, until it is shut down."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.result = SpanExportResult.SUCCESS
        self.entered = threading.Event()
        self.proceed = threading.Event()
        self.proceed.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.proceed.wait()
        if self.result is SpanExportResult.SUCCESS:
            self.spans += spans
        return self.result

    def shutdown(self) -> None:
        self.result = SpanExportResult.FAILURE
        self.proceed.set()


@pytest.fixture
def exporter() -> _Exporter:
    """Return an exporter that works."""
    METRICS.take()
    return _Exporter()


@pytest.fixture
def queue(exporter: _Exporter, monkeypatch: pytest.MonkeyPatch) -> ExportQueue:
    """Return a queue that exports at once."""
    monkeypatch.setattr(open_telemetry, "EXPORT_INTERVAL_SECONDS", 0.001)
    return ExportQueue(exporter, "http://collector")


@pytest.fixture
def tracer(queue: ExportQueue) -> OtelTracer:
    """Return a tracer whose spans go to the queue."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    return OtelTracer(provider.get_tracer("test"))


def test_a_span_continues_the_callers_trace(
    tracer: OtelTracer, queue: ExportQueue, exporter: _Exporter
) -> None:
    """It names its parent, and its own context is that of the next span."""
    span = tracer.begin("call", Kind.SERVER, SAMPLED, {"a": 1}, [SAMPLED, "unusable"])
    child = span.begin_child("redis", Kind.CLIENT)
    child.end()
    span.set({"b": "2"})
    span.end("USER_NOT_FOUND")
    queue.shutdown()
    inner, outer = exporter.spans
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == SAMPLED.split("-")[2]
    assert span.trace_id == TRACE_ID
    assert outer.context is not None
    assert span.traceparent == f"00-{TRACE_ID}-{outer.context.span_id:016x}-01"
    assert inner.parent == outer.context
    assert dict(outer.attributes or {}) == {"a": 1, "b": "2", "error.type": "USER_NOT_FOUND"}
    assert not outer.status.is_ok
    assert outer.status.description is None
    assert len(outer.links) == 1


def test_a_trace_begins_without_a_usable_parent(tracer: OtelTracer) -> None:
    """Whatever a caller sends, there is a span."""
    ids = {tracer.begin("call", Kind.SERVER, parent, {}).trace_id for parent in (None, "x")}
    assert len(ids) == 2


def test_a_full_queue_drops_spans_and_counts_them(
    tracer: OtelTracer, queue: ExportQueue, exporter: _Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector that hangs takes memory for a limited number of spans only."""
    monkeypatch.setattr(open_telemetry, "MAX_QUEUED", 3)
    exporter.proceed.clear()
    tracer.begin("hangs", Kind.SERVER, None, {}).end()
    exporter.entered.wait()
    for _ in range(5):
        tracer.begin("waits", Kind.SERVER, None, {}).end()
    assert METRICS.take() == {Metric.SPAN_DROPPED: 2}
    exporter.proceed.set()
    queue.shutdown()
    assert [span.name for span in exporter.spans] == ["hangs", *["waits"] * 3]


def test_a_collector_that_hangs_does_not_hold_up_the_end(
    tracer: OtelTracer, queue: ExportQueue, exporter: _Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be exported in time is counted as dropped."""
    monkeypatch.setattr(open_telemetry, "FLUSH_SECONDS", 0.01)
    exporter.proceed.clear()
    tracer.begin("hangs", Kind.SERVER, None, {}).end()
    exporter.entered.wait()
    tracer.begin("waits", Kind.SERVER, None, {}).end()
    queue.shutdown()
    tracer.begin("late", Kind.SERVER, None, {}).end()
    assert METRICS.take() == {Metric.SPAN_DROPPED: 3}


def test_failing_exports_are_counted_and_logged_once(
    tracer: OtelTracer,
    queue: ExportQueue,
    exporter: _Exporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says when it begins, not for each batch."""
    monkeypatch.setattr(open_telemetry, "MAX_BATCH", 1)
    exporter.result = SpanExportResult.FAILURE
    for _ in range(3):
        tracer.begin("lost", Kind.SERVER, None, {}).end()
    queue.shutdown()
    assert METRICS.take() == {Metric.SPAN_DROPPED: 3}
    assert [record.getMessage() for record in caplog.records] == [
        "spans cannot be exported; dropping them: endpoint=http://collector"
    ]


async def test_variables_of_opentelemetry_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what says where the process runs is used, and it does not rename the process."""
    for name, value in (
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SERVICE_NAME", "other"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "unusable"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-7,service.name=other"),
    ):
        monkeypatch.setenv(name, value)
    ignore_foreign_variables()
    exporter = _Exporter()
    monkeypatch.setattr(open_telemetry, "OTLPSpanExporter", lambda *_, **__: exporter)
    async with open_telemetry.exporting("http://collector", "read") as tracer:
        tracer.begin("call", Kind.SERVER, None, {"a": 1}).end()
    (span,) = exporter.spans
    assert span.resource.attributes["service.name"] == "fanfare-read"
    assert span.resource.attributes["k8s.pod.name"] == "pod-7"
    assert dict(span.attributes or {}) == {"a": 1}
