"""Clients of streams that do not read, with each gRPC server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as pb
from helpers.grpc_server import READ, Watched, serving
from helpers.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    START,
    call_headers,
    frame,
)

from core.rpc import server as core_server
from core.rpc import streams as core_streams

pytestmark = pytest.mark.usefixtures("each_server")
# Less than DRAIN_SECONDS, so that a test fails if its drain only ends by its time limit.
DEADLINE_SECONDS = 8.0
WATCH = b"/fanfare.read.v1.ReadService/WatchHomeTimeline"
REQUEST = pb.WatchHomeTimelineRequest(user_id=7)
EVENTS = [
    pb.WatchHomeTimelineResponse(tweet=Tweet(id=1, content="hello"), resume_token="a"),
    pb.WatchHomeTimelineResponse(heartbeat=pb.Heartbeat(), resume_token="b"),
]
BYTES = [event.SerializeToString() for event in EVENTS]
LARGE = pb.WatchHomeTimelineResponse(resume_token="x" * 10_000).SerializeToString()
WINDOW_UPDATE = 8
SERVICE_CONFIG = Path(__file__).parents[4] / "docs" / "service_config.json"


class _Reader:
    """An HTTP/2 client that reads only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        body = REQUEST.SerializeToString()
        writer.write(
            START
            + frame(HEADERS, END_HEADERS, 1, call_headers(WATCH))
            + frame(DATA, END_STREAM, 1, b"\0" + len(body).to_bytes(4, "big") + body)
        )

    async def read(self, size: int) -> None:
        """Read this much of the stream, and let the server send as much more."""
        unread = 0
        while unread < size:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == DATA:
                unread += len(payload)
        self._grant(unread)

    async def read_to_the_end(self) -> None:
        """Read until the server ends the stream; raise IncompleteReadError if it does not."""
        while True:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == HEADERS and head[4] & END_STREAM:
                return
            if head[3] == DATA:
                self._grant(len(payload))

    def _grant(self, size: int) -> None:
        grant = size.to_bytes(4, "big")
        self.writer.write(frame(WINDOW_UPDATE, 0, 0, grant) + frame(WINDOW_UPDATE, 0, 1, grant))


async def test_a_client_that_does_not_read_gets_no_more_events() -> None:
    """Its window takes six events, and the server no more than some; then it goes on."""
    watched = Watched(*[LARGE] * 1000)
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ, servicer=watched) as server:
        reader = _Reader(*await asyncio.open_connection("127.0.0.1", server.port))
        sent = await watched.until_held_up()
        assert 6 <= sent <= 100
        await reader.read(60_000)
        while watched.sent < sent + 3:  # noqa: ASYNC110 - a count
            await asyncio.sleep(0.01)
        reader.writer.transport.abort()
        await watched.closed.acquire()


async def test_a_client_that_never_reads_does_not_keep_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its stream ends, though its connection goes on."""
    monkeypatch.setattr(core_streams, "UNREAD_SECONDS", 0.1)
    watched = Watched(*[LARGE] * 1000)
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ, servicer=watched) as server:
        reader = _Reader(*await asyncio.open_connection("127.0.0.1", server.port))
        await watched.closed.acquire()
        assert server._streams.count == 0
        reader.writer.transport.abort()


async def test_a_client_that_does_not_read_does_not_hold_up_a_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connection is closed."""
    monkeypatch.setattr(core_streams, "SENDING_SECONDS", 0.1)
    watched = Watched(*[LARGE] * 1000)
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ, servicer=watched) as server:
        reader = _Reader(*await asyncio.open_connection("127.0.0.1", server.port))
        await watched.until_held_up()
        await server.drain()
        reader.writer.transport.abort()


async def test_a_drain_keeps_a_connection_until_its_streams_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that is behind reads what was being sent, and then why the stream ends."""
    monkeypatch.setattr(core_streams, "SENDING_SECONDS", DEADLINE_SECONDS)
    monkeypatch.setattr(core_server, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(core_server, "REFUSED_SECONDS", 0.0)
    watched = Watched(*[LARGE] * 1000)
    async with asyncio.timeout(DEADLINE_SECONDS), serving(READ, servicer=watched) as server:
        reader = _Reader(*await asyncio.open_connection("127.0.0.1", server.port))
        sent = await watched.until_held_up()
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(5 * core_server.DRAIN_POLL_SECONDS)
        await reader.read_to_the_end()
        await draining
        assert watched.sent <= sent + 1
        reader.writer.transport.abort()
