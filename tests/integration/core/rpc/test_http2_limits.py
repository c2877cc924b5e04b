"""What one client can make the gRPC server hold, over connections that no client library makes."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from grpc_status import rpc_status
from helpers.grpc_client import details
from helpers.grpc_server import READ, Held, serving
from helpers.http2 import END_HEADERS, HEADERS, START, call_headers, frame, indexed

from core.rpc import server_options
from core.settings import GrpcServerKind

pytestmark = pytest.mark.usefixtures("each_server")
DEADLINE_SECONDS = 60.0
GET_USER = b"/fanfare.read.v1.ReadService/GetUser"
RST_STREAM, GOAWAY = 3, 7
ABOVE = 20
BOMB_BYTES = 10 * 1024 * 1024
BOMB_STREAMS_AT_ONCE = 100
# Without the limits the bomb takes some 700 MiB.
GROWTH_MIB = 100


async def test_calls_above_the_limit_of_a_connection_are_refused() -> None:
    """The calls above it are reset. Without a limit, only the keepalive ends such a connection."""
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        streams = server_options.MAX_STREAMS + ABOVE
        block = call_headers(GET_USER)
        writer.write(START)
        writer.write(
            b"".join(frame(HEADERS, END_HEADERS, 2 * n + 1, block) for n in range(streams))
        )
        seen: Counter[int] = Counter()
        while seen[RST_STREAM] < ABOVE and not seen[GOAWAY]:
            head = await reader.readexactly(9)
            seen[head[3]] += 1
            await reader.readexactly(int.from_bytes(head[:3], "big"))
        assert not seen[GOAWAY]
        writer.close()


async def test_headers_that_grow_when_decoded_take_little_memory() -> None:
    """A few bytes can name 12 KiB of headers, in as many calls as a client cares to begin."""
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ) as server:
        before = _resident_mib()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        discarding = asyncio.create_task(_discard(reader))
        with suppress(ConnectionError):
            for frames in _bomb():
                writer.write(frames)
                await writer.drain()
        grown = _resident_mib() - before
        writer.transport.abort()
        await discarding
    assert grown < GROWTH_MIB


def _bomb() -> Iterator[bytes]:
    """Yield calls that never send their message, with headers from the table of the connection."""
    block = call_headers(GET_USER)
    yield START + frame(HEADERS, END_HEADERS, 1, block + indexed(b"x-bomb", b"a" * 3900))
    stream, sent = 3, 0
    while sent < BOMB_BYTES:
        # The newest entry of the table, three times: RFC 7541, section 6.1.
        frames = b"".join(
            frame(HEADERS, END_HEADERS, stream + 2 * n, block + b"\xbe" * 3)
            for n in range(BOMB_STREAMS_AT_ONCE)
        )
        stream += 2 * BOMB_STREAMS_AT_ONCE
        sent += len(frames)
        yield frames


async def _discard(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(1 << 16):
            pass


def _resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


async def test_connections_above_the_limit_are_closed(
    monkeypatch: pytest.MonkeyPatch, each_server: GrpcServerKind
) -> None:
    """The others go on, and when one ends, a new one is accepted."""
    if each_server is GrpcServerKind.NATIVE:
        pytest.skip("the native server has no limit of connections")
    monkeypatch.setattr(server_options, "MAX_CONNECTIONS", 2)
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ) as server:
        first = await _connect(server.port)
        second = await _connect(server.port)
        assert first is not None
        assert second is not None
        assert await _connect(server.port) is None
        first.close()
        while (third := await _connect(server.port)) is None:
            pass  # the server has not seen the end of the first one yet
        second.close()
        third.close()


async def _connect(port: int) -> asyncio.StreamWriter | None:
    """Return a connection whose server has answered; None if it was closed instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(START)
    with suppress(ConnectionError):
        if await reader.read(9):
            return writer
    writer.close()
    return None


@pytest.mark.parametrize("channels", [1, 12])
async def test_every_refusal_in_a_burst_says_why(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    """Our limit acts before grpc's, which refuse at random and without ErrorInfo."""
    monkeypatch.setattr("core.rpc.calls.MAX_CALLS", 50)
    held = Held()
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ, servicer=held) as server:
        # A pool for each channel; otherwise all would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        target = f"127.0.0.1:{server.port}"
        opened = [grpc.aio.insecure_channel(target, options) for _ in range(channels)]
        stubs = [ReadServiceStub(channel) for channel in opened]
        calls = [asyncio.create_task(_reason(stubs[n % channels])) for n in range(3000)]
        for _ in range(50):
            await held.entered.acquire()
        held.release.set()
        told = Counter(await asyncio.gather(*calls))
        for channel in opened:
            await channel.close()
    assert told["OK"] >= 50
    assert set(told) <= {"OK", "TOO_MANY_CALLS"}


async def _reason(stub: Any) -> str:
    """Make a call; return "OK", the reason of its error, or its code where it has none."""
    try:
        await stub.GetUser(pb.GetUserRequest(user_id=1))
    except grpc.aio.AioRpcError as error:
        # The type stubs want a grpc.Call, but an AioRpcError has the methods that are used.
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        return details(status)[0] if status is not None else error.code().name
    return "OK"
