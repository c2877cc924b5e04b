"""What the metrics say after calls, with each gRPC server."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers.grpc_server import READ, serving
from prometheus_client import REGISTRY

from core.auth.call_context import Context
from core.errors import TooManyCallsError

pytestmark = pytest.mark.usefixtures("each_server")
DEADLINE_SECONDS = 30.0
SERVICE = "fanfare.read.v1.ReadService"


class _Service:
    """A ReadService whose calls succeed, fail or hang."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)

    def __getattr__(self, _name: str) -> object:
        return self._answer

    async def _answer(self, request: Any, _context: Context) -> bytes:
        self.entered.release()
        match request.user_id:
            case 1:
                return b""
            case 2:
                raise TooManyCallsError
            case 3:
                raise RuntimeError("a bug")
        await asyncio.Event().wait()
        raise AssertionError


def _series() -> Counter[tuple[str, ...]]:
    """Return the series of gRPC calls that are not zero."""
    return Counter(
        {
            (sample.name, *sample.labels.values()): int(sample.value)
            for family in REGISTRY.collect()
            if family.name.startswith("grpc_server") and family.name != "grpc_server_msg_sent"
            for sample in family.samples
            if not sample.name.endswith(("_sum", "_bucket"))
        }
    )


async def test_each_call_is_counted_with_its_code() -> None:
    """Successes, refusals, bugs, cancellations, deadlines, checks of health and unknown methods."""
    before = _series()
    service = _Service()
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=service) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        for user_id in (1, 1, 2, 3):
            await _outcome(stub.GetUser(pb.GetUserRequest(user_id=user_id)))
            await service.entered.acquire()
        await _outcome(stub.GetUser(pb.GetUserRequest(user_id=4), timeout=0.2))
        cancelled = stub.GetUser(pb.GetUserRequest(user_id=4))
        for _ in range(2):
            await service.entered.acquire()
        cancelled.cancel()
        await _outcome(cancelled)
        health: Any = health_pb2_grpc.HealthStub(channel)
        await _outcome(health.Check(health_pb2.HealthCheckRequest()))
        await _outcome(health.Check(health_pb2.HealthCheckRequest(service="fan\u00e9")))
        unknown: Any = channel.unary_unary("/fanfare.read.v1.ReadService/Guess")
        await _outcome(unknown(b""))
    # The drain has waited until the server knew of the cancellation.
    method = "unary", SERVICE, "GetUser"
    check = "unary", "grpc.health.v1.Health", "Check"
    other = "unary", "other", "other"
    assert _series() - before == {
        ("grpc_server_started_total", *method): 6,
        ("grpc_server_msg_received_total", *method): 6,
        ("grpc_server_handled_total", *method, "OK"): 2,
        ("grpc_server_handled_total", *method, "Unavailable"): 1,
        ("grpc_server_handled_total", *method, "Internal"): 1,
        ("grpc_server_handled_total", *method, "DeadlineExceeded"): 1,
        ("grpc_server_handled_total", *method, "Canceled"): 1,
        ("grpc_server_handling_seconds_count", *method): 6,
        ("grpc_server_started_total", *check): 2,
        ("grpc_server_msg_received_total", *check): 2,
        ("grpc_server_handled_total", *check, "OK"): 1,
        ("grpc_server_handled_total", *check, "NotFound"): 1,
        ("grpc_server_handling_seconds_count", *check): 2,
        ("grpc_server_started_total", *other): 1,
        ("grpc_server_msg_received_total", *other): 1,
        ("grpc_server_handled_total", *other, "Unimplemented"): 1,
        ("grpc_server_handling_seconds_count", *other): 1,
    }


async def test_a_server_has_all_series_before_its_first_call() -> None:
    """Every method with every code, at zero until it is called."""
    async with serving(READ):
        names = [
            sample.labels["grpc_method"]
            for family in REGISTRY.collect()
            if family.name == "grpc_server_handled"
            for sample in family.samples
            if sample.labels["grpc_service"] == SERVICE
        ]
    assert Counter(names) == {method.name: len(grpc.StatusCode) for method in READ.methods}


async def _outcome(call: Any) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await call
