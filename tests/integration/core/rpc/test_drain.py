"""How a server stops: what is under way finishes, later calls are refused, none is cancelled."""

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

# Less than DRAIN_SECONDS: a drain that waits for its end fails the test.
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
    # Its own connection, not that of another channel to the same port.
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
    """With details that say that nothing was done; the port is free at once."""
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
        while not _bind(server.port):  # noqa: ASYNC110 - the port tells nobody
            await asyncio.sleep(0.01)
        # Also later than REFUSED_SECONDS: the connection is needed for the call under way.
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetUser(REQUEST)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            # The stubs ask for a Call, of which an AioRpcError has all that is used.
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
    """Whenever it arrives: each is answered, refused, or UNAVAILABLE as the connection ends."""
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
    """A watch is told NOT_SERVING, and ends as its connection is closed."""
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
    """A call that takes longer is UNAVAILABLE, without details: nobody knows what it did."""
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
    """So that they find out that a connection is dead; by default grpc ends it for that."""
    monkeypatch.setattr(core_server, "CLIENT_PING_SECONDS", 0.01)
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
