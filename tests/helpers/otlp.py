"""A collector that keeps the spans that it receives by OTLP over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from helpers.waiting import wait_until
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as a collector gets it."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty if the span has no parent."""
    links: frozenset[str]
    """The ids of the spans that it is linked to."""
    attributes: dict[str, str | int]
    is_error: bool
    began: int
    """Nanoseconds since 1970, as for ended."""
    ended: int

    @property
    def traceparent(self) -> str:
        """The context of the span, as it is passed on."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Collector(pb_grpc.TraceServiceServicer):
    """Keeps what is exported to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[ReceivedSpan] = []

    def Export(  # noqa: N802 - the contract's name
        self, request: pb.ExportTraceServiceRequest, _context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        """Keep the spans of a request."""
        with self._lock:
            self._spans += _spans_in(request)
        return pb.ExportTraceServiceResponse()

    def spans(self, trace_id: str | None = None) -> list[ReceivedSpan]:
        """Return the spans so far, in the order in which they began; of one trace, or of all."""
        with self._lock:
            found = [span for span in self._spans if trace_id in {None, span.trace_id}]
        return sorted(found, key=lambda span: span.began)

    def wait_for(
        self, is_wanted: Callable[[ReceivedSpan], bool], what: str, trace_id: str | None = None
    ) -> ReceivedSpan:
        """Wait until there is such a span, and return it."""
        found: list[ReceivedSpan] = []

        def has_come() -> bool:
            found[:] = filter(is_wanted, self.spans(trace_id))
            return bool(found)

        wait_until(has_come, what)
        return found[0]


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """Yield a collector, and the endpoint at which it takes spans."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _spans_in(request: pb.ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in request.resource_spans:
        named = {each.key: each.value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    named["service.name"].string_value,
                    span.name,
                    trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    frozenset(link.span_id.hex() for link in span.links),
                    {
                        each.key: each.value.string_value or each.value.int_value
                        for each in span.attributes
                    },
                    span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                )
