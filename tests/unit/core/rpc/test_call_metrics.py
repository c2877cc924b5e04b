"""The labels of the metrics of gRPC calls."""

from __future__ import annotations

import grpc
from fanfare.read.v1 import read_pb2

from core.rpc import call_metrics
from core.rpc.call_metrics import GRPC_METRICS


def test_every_code_has_its_name_in_go() -> None:
    """The numbers are grpc's, and the names are those that dashboards for Go's servers expect."""
    calls = GRPC_METRICS.of_method(
        read_pb2.DESCRIPTOR.services_by_name["ReadService"].methods_by_name["GetUser"]
    )
    assert calls.handled.keys() == {code.value[0] for code in grpc.StatusCode}
    for code in grpc.StatusCode:
        name = call_metrics._CODES[code.value[0]]
        # Go spells CANCELLED with one L.
        expected = "CANCELED" if code is grpc.StatusCode.CANCELLED else code.name
        assert name.upper() == expected.replace("_", "")
    assert grpc.StatusCode.CANCELLED.value[0] == call_metrics.CANCELLED
    assert grpc.StatusCode.DEADLINE_EXCEEDED.value[0] == call_metrics.DEADLINE_EXCEEDED
    assert grpc.StatusCode.NOT_FOUND.value[0] == call_metrics.NOT_FOUND
    assert grpc.StatusCode.UNIMPLEMENTED.value[0] == call_metrics.UNIMPLEMENTED
