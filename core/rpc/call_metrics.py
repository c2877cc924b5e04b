"""The metrics of gRPC calls, by the names and labels that the libraries of other languages use.

They are those of go-grpc-prometheus, so that dashboards and alerts written for it work: the codes
are spelled as in Go, and each method has all of its series from the start.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import MethodDescriptor
from prometheus_client.metrics_core import CounterMetricFamily, Metric

from core.runtime.call_metrics import CallMetrics, ServerMetrics

OK, CANCELLED, DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED = 0, 1, 4, 5, 12
_CODES = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)
_LABELS = ("grpc_type", "grpc_service", "grpc_method")
UNARY, SERVER_STREAM = "unary", "server_stream"
"""The types of methods, as labels."""


class GrpcMetrics(ServerMetrics):
    """The gRPC calls of this process."""

    def __init__(self) -> None:
        """Export the metrics."""
        super().__init__("grpc_server", _LABELS, "grpc_code", dict(enumerate(_CODES)))

    def of_method(self, method: MethodDescriptor) -> CallMetrics:
        """Return the metrics of a method."""
        is_stream = method.server_streaming
        kind = SERVER_STREAM if is_stream else UNARY
        service = method.containing_service.full_name
        return self.of(kind, service, method.name, is_stream=is_stream)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, with those of messages, most of which follow from the calls.

        A call begins when its one message has been received. A unary call sends one if it succeeds.
        """
        yield from super().collect()
        received = CounterMetricFamily(
            "grpc_server_msg_received", "Messages received.", labels=_LABELS
        )
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent.", labels=_LABELS)
        for labels, calls in self.calls.items():
            received.add_metric(labels, calls.started)
            sent.add_metric(labels, calls.handled[OK] if labels[0] == UNARY else calls.sent)
        yield received
        yield sent


GRPC_METRICS = GrpcMetrics()
