"""The gRPC server under too many calls, odd paths and odd metadata."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from helpers.grpc_client import details
from helpers.grpc_server import Held, serving
from helpers.http2 import opening

from core.rpc.health_probe import probe
from core.rpc.tls import certificates
from core.settings import GrpcServerKind
from ops.certificates import Authority

pytestmark = pytest.mark.usefixtures("each_server")
DEADLINE_SECONDS = 10.0
READ = pb.DESCRIPTOR.services_by_name["ReadService"]


async def test_calls_above_the_limit_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal has RetryInfo; health still answers; when a call ends, another is accepted."""
    monkeypatch.setattr("core.rpc.calls.MAX_CALLS", 2)
    held = Held()
    request = pb.GetUserRequest(user_id=1)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=held) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        under_way = [stub.GetUser(request) for _ in range(2)]
        for _ in under_way:
            await held.entered.acquire()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetUser(request)
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        # A cancelled call no longer counts.
        under_way[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await under_way[0]
        third = await _until_taken(stub, request, held)
        held.release.set()
        assert await under_way[1] == await third == pb.GetUserResponse()

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    # The type stubs want a grpc.Call, but an AioRpcError has the methods that are used.
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    assert status is not None
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "TOO_MANY_CALLS"
    assert status.details[1].Unpack(retry)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_path_that_ends_grpcs_server_does_not_end_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, each_server: GrpcServerKind, *, tls: bool
) -> None:
    """When grpc's server stops, as it does for a path that is not UTF-8, the port is reopened.

    A call under way is still answered, even if a drain begins meanwhile. Afterwards the connections
    that made the server stop are closed.
    """
    if each_server is GrpcServerKind.NATIVE:
        pytest.skip("the native server goes on; see test_native.py")
    held = Held()
    folder, context = None, None
    if tls:
        folder = tmp_path
        Authority().issue(folder, "fanfare")
        context = ssl.create_default_context(cafile=folder / "ca.crt")
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        context.set_alpn_protocols(["h2"])
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=held, certificates=certificates(folder)) as server,
        _channel(server.port, folder) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        under_way = stub.GetUser(pb.GetUserRequest(user_id=1))
        await held.entered.acquire()
        given_up = f"stopped unexpectedly; reopening its port port={server.port}"
        attackers = []
        for times in (1, 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
            writer.write(opening(b"/\xff"))
            while caplog.text.count(given_up) < times:  # noqa: ASYNC110 - a log sets no event
                await asyncio.sleep(0.01)
            target = f"127.0.0.1:{server.port}"
            while await asyncio.to_thread(probe, target, READ.full_name, folder) is not None:
                pass
            attackers.append((reader, writer))
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        held.release.set()
        assert await under_way == pb.GetUserResponse()
        await draining
        for reader, writer in attackers:
            with suppress(ConnectionError):
                await reader.read()
            writer.transport.abort()


def _channel(port: int, folder: Path | None) -> grpc.aio.Channel:
    target, own = f"127.0.0.1:{port}", certificates(folder)
    if own is None:
        return grpc.aio.insecure_channel(target)
    return grpc.aio.secure_channel(target, own.files().channel_credentials)


async def _until_taken(stub: Any, request: pb.GetUserRequest, held: Held) -> Any:
    """Call until a call is accepted, and return it; until then the cancelled one still counts."""
    while True:
        call = stub.GetUser(request)
        entered = asyncio.ensure_future(held.entered.acquire())
        answered = asyncio.ensure_future(call.code())
        await asyncio.wait([entered, answered], return_when=asyncio.FIRST_COMPLETED)
        if entered.done():
            answered.cancel()
            return call
        entered.cancel()


async def test_more_metadata_than_grpc_takes_is_refused(each_server: GrpcServerKind) -> None:
    """Refused by the server itself; a token of the largest size passes."""
    held = Held()
    held.release.set()
    request = pb.GetUserRequest(user_id=1)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=held) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetUser(request, metadata=[("authorization", "a" * 20_000)])
        await stub.GetUser(request, metadata=[("authorization", "a" * 4000)])
    # The native server answers with the HTTP status 431 alone.
    is_native = each_server is GrpcServerKind.NATIVE
    expected = grpc.StatusCode.UNKNOWN if is_native else grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.code() is expected


@pytest.mark.timeout(30)
async def test_a_request_with_many_mistakes_is_one_short_answer() -> None:
    """A large request is told only its first mistake, a small one all its mistakes up to 20."""
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        told = []
        for ids in (40_000, 1001, 1000, 1):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.BatchGetUsers(pb.BatchGetUsersRequest(user_ids=[0] * ids))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            # The type stubs want a grpc.Call, but an AioRpcError has the methods that are used.
            status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
            assert status is not None
            told.append(details(status)[1])
    assert told == [
        ("user_ids",),
        ("user_ids", *(f"user_ids[{n}]" for n in range(19))),
        tuple(f"user_ids[{n}]" for n in range(20)),
        ("user_ids[0]",),
    ]
