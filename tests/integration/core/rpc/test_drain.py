"""How a gRPC server drains: calls under way finish, and later ones are refused."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from helpers.grpc_client import details
from helpers.grpc_server import Held, serving
from helpers.http2 import START, frame

from core.auth.call_context import Context
from core.rpc import server as core_server
from core.rpc import server_options

pytestmark = pytest.mark.usefixtures("each_server")
# Less than DRAIN_SECONDS, so that a test fails if its drain only ends by its time limit.
DEADLINE_SECONDS = 8.0
READ = pb.DESCRIPTOR.services_by_name["ReadService"]
REQUEST = pb.GetUserRequest(user_id=1)
PING, GOAWAY, ACK = 6, 7, 1


class _Brief:
    """A ReadService whose calls take a moment."""

    def __getattr__(self, _name: str) -> Callable[[Any, Context], Awaitable[bytes]]:
        return self._answer

    async def _answer(self, _request: Any, _context: Context) -> bytes:
        await asyncio.sleep(0.001)
        return b""


def _channel(port: int) -> grpc.aio.Channel:
    # The option gives the channel its own connection. By default, channels to one port share one.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)


def _bind(port: int) -> bool:
    """Return whether the port is free."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


async def test_calls_under_way_finish_and_later_ones_are_refused() -> None:
    """The refusal says that nothing was done; the port is free at once."""
    held = Held()
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=held) as server,
        _channel(server.port) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        under_way = stub.GetUser(REQUEST)
        await held.entered.acquire()
        draining = asyncio.create_task(server.drain())
        while not _bind(server.port):  # noqa: ASYNC110 - a port sets no event
            await asyncio.sleep(0.01)
        # The connection stays open for longer than REFUSED_SECONDS, for the call under way.
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetUser(REQUEST)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            # The type stubs want a grpc.Call, but an AioRpcError has the methods that are used.
            status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
            assert status is not None
            assert details(status)[0] == "SHUTTING_DOWN"
            assert status.details[1].Is(RetryInfo.DESCRIPTOR)
            await asyncio.sleep(core_server.REFUSED_SECONDS)
        assert not draining.done()
        held.release.set()
        assert await under_way == pb.GetUserResponse()
        await draining


async def test_no_call_is_cancelled() -> None:
    """Each call is answered, refused, or fails with UNAVAILABLE as its connection closes."""
    codes: Counter[grpc.StatusCode] = Counter()

    async def call_until_the_end(port: int, stopped: asyncio.Event) -> None:
        async with _channel(port) as channel:
            stub: Any = ReadServiceStub(channel)
            while not stopped.is_set():
                try:
                    await stub.GetUser(REQUEST)
                except grpc.aio.AioRpcError as error:
                    codes[error.code()] += 1
                else:
                    codes[grpc.StatusCode.OK] += 1

    for _ in range(5):
        stopped = asyncio.Event()
        async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
            async with serving(READ, servicer=_Brief()) as server:
                served = codes[grpc.StatusCode.OK]
                for _ in range(16):
                    group.create_task(call_until_the_end(server.port, stopped))
                while codes[grpc.StatusCode.OK] < served + 100:  # noqa: ASYNC110 - a count
                    await asyncio.sleep(0.01)
            stopped.set()
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


async def test_a_drain_does_not_wait_for_watches_and_idle_connections() -> None:
    """A health watch gets NOT_SERVING, and ends when its connection is closed."""
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ) as server,
        _channel(server.port) as channel,
    ):
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", server.port)
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=READ.full_name))
        answer = health_pb2.HealthCheckResponse
        assert (await watch.read()).status == answer.SERVING
        draining = asyncio.create_task(server.drain())
        assert (await watch.read()).status == answer.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watch.read()
        await idle_reader.read()
        idle_writer.close()
        await draining
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_drain_has_an_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that is cut off is UNAVAILABLE without details, because its outcome is unknown."""
    monkeypatch.setattr(core_server, "DRAIN_SECONDS", 0.2)
    held = Held()
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=held) as server,
        _channel(server.port) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        under_way = stub.GetUser(REQUEST)
        await held.entered.acquire()
        await server.drain()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await under_way
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert rpc_status.from_call(ended.value) is None  # type: ignore[arg-type]  # as above
    assert f"drain timed out port={server.port} calls=1" in caplog.text


async def test_clients_may_ping_without_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such pings show clients a dead connection. By default grpc disconnects clients for them."""
    monkeypatch.setattr(server_options, "CLIENT_PING_SECONDS", 0.01)
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(START)
        acknowledged = 0
        while acknowledged < 5:
            writer.write(frame(PING, 0, 0, bytes(8)))
            await asyncio.sleep(0.02)
            kind, flags = 0, 0
            while (kind, flags) != (PING, ACK):
                head = await reader.readexactly(9)
                kind, flags = head[3], head[4]
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                assert kind != GOAWAY
            acknowledged += 1
        writer.close()
