"""Bodies above the limit of their route, which follows from the contract."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from helpers.grpc_server import WRITE

from core.rpc.request_sizes import max_json_bytes
from gateway import bodies
from gateway.endpoint import USELESS_BODY_BYTES
from gateway.routes import Route, routes

from .fakes import Client

DEADLINE_SECONDS = 10.0


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(
    "route", list(routes(WRITE)), ids=lambda route: f"{route.verb} {route.path}"
)
async def test_a_body_over_the_limit_of_its_route_is_413(commands: Client, route: Route) -> None:
    """The limit applies to a declared length, and to chunks without one."""
    path = re.sub(r"{\w+}", "1", route.path)
    limit = max_json_bytes(route.method.input_type) if route.has_body else USELESS_BODY_BYTES
    body = b'"' + b"x" * (limit - 2) + b'"'
    assert (await commands.send(route.verb, path, body)).status == 400
    for large in (body + b" ", _chunks(body, b" ")):
        reply = await commands.send(route.verb, path, large)
        assert (reply.status, reply.reason) == (413, "BODY_TOO_LARGE")


async def test_a_body_over_the_limit_is_not_waited_for(commands: Client) -> None:
    """The answer comes while the client has sent only the length of the body, or half of it."""
    head = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for rest in (
        b"Content-Length: 4000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n100000\r\n" + b"x" * 100_000,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", commands.port)
        writer.write(head + rest)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await reader.readline()).split()[1] == b"413"
        writer.close()


async def test_a_large_body_is_not_read_after_the_answer(commands: Client) -> None:
    """Reading it would cost more than refusing it; the client has time to read the answer."""
    length = 64 * 1024 * 1024
    head = f"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", commands.port)
    writer.write(head + b"x" * length)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await reader.readline()).split()[1] == b"413"
        with pytest.raises(ConnectionError):
            await writer.drain()
    writer.close()


async def test_a_large_body_is_refused_a_little_later(
    commands: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client cannot send one after another without pause; a small one is refused at once."""
    slept: list[float] = []
    waits, later = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        waits.set()
        await later.wait()

    monkeypatch.setattr(bodies, "asyncio", SimpleNamespace(sleep=sleep))
    head = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    connections = [await asyncio.open_connection("127.0.0.1", commands.port) for _ in range(2)]
    (large, to_large), (small, to_small) = connections
    async with asyncio.timeout(DEADLINE_SECONDS):
        to_large.write(head % 4_000_000)
        await waits.wait()
        assert slept == [bodies.LARGE_BODY_DELAY_SECONDS]
        to_small.write(head % bodies.MAX_SKIPPED_BYTES + b"x" * bodies.MAX_SKIPPED_BYTES)
        assert (await small.readline()).split()[1] == b"413"
        later.set()
        assert (await large.readline()).split()[1] == b"413"
    assert slept == [bodies.LARGE_BODY_DELAY_SECONDS, bodies.UNREAD_BODY_SECONDS]
    for _, writer in connections:
        writer.close()
