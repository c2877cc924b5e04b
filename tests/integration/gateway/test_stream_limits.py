"""Limits of streams over REST: clients that do not read, drains, and too many streams."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from core.rpc import streams as core_streams
from gateway import listener
from gateway.cors import Cors

from .fakes import Client, Fake
from .streaming import (
    BYTES,
    DEADLINE_SECONDS,
    LARGE,
    PATH,
    opened,
    read_event,
    watched_by,
)


async def _unread(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a stream, and read nothing of it."""
    # asyncio reads up to twice the limit by itself.
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def test_a_client_that_does_not_read_gets_no_more_events(queries: Client, read: Fake) -> None:
    """The kernel's buffers take some megabytes; then the method waits until it reads."""
    watched = watched_by(read, *[LARGE] * 10_000)
    async with asyncio.timeout(2 * DEADLINE_SECONDS):
        reader, writer = await _unread(queries.port)
        sent = await watched.until_held_up()
        assert sent < 5000
        while watched.sent < sent + 3:
            await reader.read(1 << 16)
        writer.transport.abort()
        await watched.closed.acquire()


async def test_a_drain_ends_streams_with_a_delay(
    read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for them; each has a delay of its own, so that not all come back at once."""
    drawn = [1.25, 3.5]
    monkeypatch.setattr("core.watch_errors.random.uniform", lambda *_: drawn.pop())
    watched = watched_by(read, *BYTES)
    server = read.rest_server(Cors(""))
    await server.start()
    client = Client(session, server.port)
    delays = set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with opened(client, session) as one, opened(client, session) as other:
            for _ in range(2):
                await watched.waiting.acquire()
            draining = asyncio.create_task(server.drain())
            for answer in (one, other):
                for _ in BYTES:
                    await read_event(answer)
                name, _, delay = (await read_event(answer)).partition(": ")
                assert name == "retry"
                delays.add(int(delay))
                assert await read_event(answer) == ""
        await draining
    assert delays == {1250, 3500}


async def test_a_client_that_does_not_read_does_not_hold_up_a_drain(
    read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closed."""
    monkeypatch.setattr(core_streams, "SENDING_SECONDS", 0.1)
    watched = watched_by(read, *[LARGE] * 10_000)
    server = read.rest_server(Cors(""))
    await server.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, writer = await _unread(server.port)
        await watched.until_held_up()
        await server.drain()
        await watched.closed.acquire()
        writer.transport.abort()


async def test_a_stream_that_begins_during_a_drain_is_refused(
    read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a connection that was open before; its client connects again."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 2 * DEADLINE_SECONDS)
    server = read.rest_server(Cors(""))
    await server.start()
    client = Client(session, server.port)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await client.send("GET", "/health")).status == 200
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        reply = await client.send("GET", PATH)
        assert (reply.status, reply.reason) == (503, "SHUTTING_DOWN")
        assert 0 <= int(reply.headers["Retry-After"]) <= 5
        await draining


async def test_streams_above_the_limit_are_429(
    queries: Client, read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted together with those over gRPC, and apart from calls."""
    monkeypatch.setattr(read.handlers.streams, "_most", 2)
    monkeypatch.setattr("core.rpc.calls.MAX_CALLS", 1)
    watched = watched_by(read, *BYTES)
    with read.handlers.streams.opened("over gRPC"):
        async with opened(queries, session):
            assert (await queries.send("GET", "/users/1")).status == 200
            reply = await queries.send("GET", PATH)
            assert (reply.status, reply.reason) == (429, "TOO_MANY_WATCHES")
            assert reply.headers["Retry-After"] == "5"
            assert "close one" in reply.json["message"]
        await watched.closed.acquire()
        async with opened(queries, session):
            pass


async def test_streams_leave_the_connections_of_a_port_to_calls(
    read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that carries a stream does not count towards the limit."""
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 1)
    watched_by(read, *BYTES)
    server = read.rest_server(Cors(""))
    await server.start()
    client = Client(session, server.port)
    async with opened(client, session), opened(client, session):
        assert (await client.send("GET", "/health")).status == 200
    await server.drain()
