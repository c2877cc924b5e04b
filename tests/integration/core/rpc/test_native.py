"""What differs between the native gRPC server and grpcio's, and what must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from google.protobuf.message import Message
from grpc_status import rpc_status
from helpers.grpc_client import details
from helpers.grpc_server import READ, Held, serving
from helpers.http2 import END_HEADERS, HEADERS, START, call_headers, frame, opening

from core.auth.call_context import Context
from core.rpc import server as core_server
from core.rpc.handlers import Handlers
from core.rpc.server_choice import grpc_server
from core.runtime.process import StartError
from core.settings import GrpcServerKind

pytestmark = pytest.mark.usefixtures("each_server")

DEADLINE_SECONDS = 30.0
GET_USER = "/fanfare.read.v1.ReadService/GetUser"
REQUEST = pb.GetUserRequest(user_id=1)
DATA, END_STREAM, WINDOW_UPDATE = 0, 1, 8
ANSWER_BYTES = 300_000
# What HTTP/2 lets a server send before the client has read it, unless the client says otherwise.
WINDOW_BYTES = 65_535


@asynccontextmanager
async def _channel(servicer: object | None = None) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a server; servicer: Silent by default."""
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=servicer) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


class _Waiting:
    """A ReadService whose calls wait until they are cancelled."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.entered = asyncio.Semaphore(0)
        self.cancelled = asyncio.Semaphore(0)

    def __getattr__(self, _name: str) -> object:
        return self._answer

    async def _answer(self, _request: Message, context: Context) -> bytes:
        self.contexts.append(context)
        self.entered.release()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.release()
        raise AssertionError


async def test_a_call_is_cancelled_by_its_client_and_by_its_deadline() -> None:
    """The method stops, so that nothing works for a client that no longer waits."""
    waiting = _Waiting()
    async with _channel(waiting) as channel:
        stub: Any = ReadServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub.GetUser(REQUEST, timeout=0.2)
        await waiting.cancelled.acquire()
        call = stub.GetUser(REQUEST)
        for _ in range(2):
            await waiting.entered.acquire()
        call.cancel()
        await waiting.cancelled.acquire()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_method_sees_the_client() -> None:
    """Its address, and its metadata: text, repeated keys and bytes."""
    waiting = _Waiting()
    async with _channel(waiting) as channel:
        stub: Any = ReadServiceStub(channel)
        sent = (("x-a", "1"), ("x-a", "2"), ("x-bin", b"\0\xff"))
        call = stub.GetUser(REQUEST, metadata=sent)
        await waiting.entered.acquire()
        (context,) = waiting.contexts
        assert context.address == "127.0.0.1"
        metadata = [(key, value) for key, value in context.metadata if key.startswith("x-")]
        assert metadata == list(sent)
        assert not context.certificate_names
        call.cancel()


class _Cancelling:
    """A ReadService whose methods are cancelled from within the server."""

    def __getattr__(self, _name: str) -> object:
        return self._answer

    async def _answer(self, _request: Message, _context: Context) -> bytes:
        raise asyncio.CancelledError


async def test_a_method_that_is_cancelled_from_within_ends_its_call(
    each_server: GrpcServerKind,
) -> None:
    """Otherwise a client without a deadline would wait forever."""
    if each_server is GrpcServerKind.GRPCIO:
        pytest.skip("grpc.aio sends no status then")
    async with _channel(_Cancelling()) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GET_USER)
        call = method(b"\x08\x01")
        assert await call.code() is grpc.StatusCode.CANCELLED


async def test_a_call_that_ends_before_its_task_begins_leaves_nothing(
    each_server: GrpcServerKind,
) -> None:
    """As when its client gives up while the event loop is busy: such a task runs no line of it."""
    if each_server is GrpcServerKind.GRPCIO:
        pytest.skip("grpc.aio keeps its tasks itself")
    native = pytest.importorskip("pygrpc_native")
    async with serving(READ) as server:
        transport: Any = server._transport
        begun = (native.EVENT_CALL, 1, 0, b"", None, ((), "ipv4:127.0.0.1:1", None))
        transport._begin([begun, (native.EVENT_CANCEL, 1, 0, b"", None, None)])
        await asyncio.wait(transport._tasks.values(), timeout=DEADLINE_SECONDS)
        assert transport._tasks == {}


@pytest.mark.parametrize("path", [GET_USER + "s", "/no.Service/GetUser", "/x", "/"])
async def test_an_unknown_method_has_error_info(path: str) -> None:
    """As every other error."""
    async with _channel() as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await method(b"")
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    # The type stubs want a grpc.Call, but an AioRpcError has the methods that are used.
    status = rpc_status.from_call(unknown.value)  # type: ignore[arg-type]
    assert status is not None
    assert details(status)[0] == "METHOD_NOT_FOUND"


async def test_a_path_that_is_not_utf8_ends_one_connection(each_server: GrpcServerKind) -> None:
    """Others are served, and a call under way on another connection goes on."""
    if each_server is GrpcServerKind.GRPCIO:
        pytest.skip("test_server.py shows what becomes of grpcio's server")
    held = Held()
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=held) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        under_way = stub.GetUser(REQUEST)
        await held.entered.acquire()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(opening(b"/\xff"))
        await reader.read()  # until the server has closed it
        writer.close()
        held.release.set()
        assert await under_way == await stub.GetUser(REQUEST) == pb.GetUserResponse()


async def test_a_drain_lets_an_answer_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer larger than the window is sent at the pace of the client, after its call."""
    monkeypatch.setattr("core.rpc.server.SILENT_SECONDS", 0.0)
    release = asyncio.Event()

    class Large:
        def __getattr__(self, _name: str) -> object:
            return self._answer

        async def _answer(self, _request: Message, _context: Context) -> bytes:
            await release.wait()
            return bytes(ANSWER_BYTES)

    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ, servicer=Large()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = REQUEST.SerializeToString()
        writer.write(
            START
            + frame(HEADERS, END_HEADERS, 1, call_headers(GET_USER.encode()))
            + frame(DATA, END_STREAM, 1, b"\0" + len(body).to_bytes(4, "big") + body)
        )
        while not server._calls.grpc_count:  # noqa: ASYNC110 - a count
            await asyncio.sleep(0.01)
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(2 * core_server.REFUSED_SECONDS)
        release.set()
        received = unread = 0
        while received < ANSWER_BYTES + 5:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == DATA:
                received += len(payload)
                unread += len(payload)
            if unread > WINDOW_BYTES // 2:
                await asyncio.sleep(0.05)  # the network's delay
                grant = unread.to_bytes(4, "big")
                writer.write(frame(WINDOW_UPDATE, 0, 0, grant) + frame(WINDOW_UPDATE, 0, 1, grant))
                unread = 0
        await draining
        writer.close()


async def test_a_port_that_is_taken_is_one_sentence(each_server: GrpcServerKind) -> None:
    """It says who listens there, and which setting to change."""
    async with serving(READ) as server:
        second = grpc_server(each_server, "127.0.0.1", server.port, Handlers())
        with pytest.raises(StartError, match="listens on the port; stop it, or set FANFARE_"):
            await second.start()
        await second.drain()


async def test_a_port_may_be_shared(each_server: GrpcServerKind) -> None:
    """Several processes can serve it, and one can replace another."""
    first = grpc_server(each_server, "127.0.0.1", 0, Handlers(), shared=True)
    await first.start()
    second = grpc_server(each_server, "127.0.0.1", first.port, Handlers(), shared=True)
    await second.start()
    assert second.port == first.port
    await asyncio.gather(first.drain(), second.drain())
