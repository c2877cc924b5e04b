"""Calls of a method that answers with a stream, over Connect and gRPC-Web."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fanfare.read.v1 import read_pb2

from core import errors
from core.auth.call_context import Context
from core.watch_errors import WATCH_AGAIN_SECONDS
from gateway.cors import Cors
from gateway.envelopes import envelope

from .fakes import Client, Fake, handled

DEADLINE_SECONDS = 10.0
PATH = "/fanfare.read.v1.ReadService/WatchHomeTimeline"
BINARY, JSON = "application/connect+proto", "application/connect+json"
WEB, TEXT = "application/grpc-web+proto", "application/grpc-web-text"
REQUEST = envelope(read_pb2.WatchHomeTimelineRequest(user_id=7).SerializeToString())
EVENTS = [
    read_pb2.WatchHomeTimelineResponse(removed_tweet_id=2**60, resume_token="1"),
    read_pb2.WatchHomeTimelineResponse(heartbeat=read_pb2.Heartbeat(), resume_token="2"),
]


class Watched:
    """A stream whose events a test releases one by one."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.taken = 0
        self.closed = asyncio.Event()

    async def __call__(self, _request: Any, _context: Context) -> AsyncGenerator[bytes, None]:
        """Yield the events until None."""
        try:
            while (event := await self.events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                self.taken += 1
                yield event
        finally:
            self.closed.set()


class Opened:
    """A stream as its client reads it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> None:
        """Read the head."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(head[0].split()[1])
        lines = (line.split(": ", 1) for line in head[1:] if line)
        self.headers = {name.lower(): value for name, value in lines}

    async def chunk(self) -> bytes:
        """Return the next chunk; b"" at the end."""
        size = int(await self._reader.readline(), 16)
        chunk = await self._reader.readexactly(size + 2)
        return chunk[:-2]


async def _open(port: int, kind: str = BINARY, body: bytes = REQUEST, *lines: str) -> Opened:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    more = "".join(f"{line}\r\n" for line in lines)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{more}"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return Opened(reader, writer)


def _end(frame: bytes) -> Any:
    assert frame[0] == 2
    assert len(frame) == 5 + int.from_bytes(frame[1:5])
    return json.loads(frame[5:])


@pytest.fixture
def watched(read: Fake) -> Watched:
    """Return the stream that WatchHomeTimeline answers with."""
    watched = Watched()
    read.streams["WatchHomeTimeline"] = watched
    return watched


@pytest.mark.parametrize("kind", [BINARY, JSON, WEB, TEXT])
async def test_events_arrive_one_by_one(queries: Client, watched: Watched, kind: str) -> None:
    """Each is sent when there is one, in the form of the request, and the end after the last."""
    body = envelope(b'{"userId": 7}') if kind == JSON else REQUEST
    async with asyncio.timeout(DEADLINE_SECONDS):
        stream = await _open(queries.port, kind, base64.b64encode(body) if kind == TEXT else body)
        for index, event in enumerate(EVENTS):
            message = event.SerializeToString()
            watched.events.put_nowait(message)
            if index == 0:
                await stream.begin()
                assert (stream.status, stream.headers["content-type"]) == (200, kind)
            chunk = await stream.chunk()
            if kind == JSON:
                assert chunk[0] == 0
                assert json.loads(chunk[5:])["resume_token"] == event.resume_token
            else:
                assert (base64.b64decode(chunk) if kind == TEXT else chunk) == envelope(message)
        watched.events.put_nowait(None)
        end = await stream.chunk()
        if kind in {BINARY, JSON}:
            assert _end(end) == {}
        else:
            end = base64.b64decode(end) if kind == TEXT else end
            assert end == b"\x80\x00\x00\x00\x10grpc-status: 0\r\n"
        assert await stream.chunk() == b""
    stream.writer.close()


async def test_the_connection_can_be_used_again(queries: Client, watched: Watched) -> None:
    """A stream that has ended leaves it as any answer does."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        stream = await _open(queries.port)
        watched.events.put_nowait(None)
        await stream.begin()
        while await stream.chunk():
            pass
        stream.writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.begin()
    assert stream.status == 200
    stream.writer.close()


async def test_an_error_before_the_first_event(queries: Client, watched: Watched) -> None:
    """The response is 200 with the error alone; metrics count the status of its code."""
    before = handled()
    watched.events.put_nowait(errors.UserNotFoundError(7))
    reply = await queries.send("POST", PATH, REQUEST, **{"Content-Type": BINARY})
    assert (reply.status, reply.headers["Content-Type"]) == (200, BINARY)
    error = _end(reply.body)["error"]
    assert (error["code"], error["message"]) == ("not_found", "there is no user 7")
    assert error["details"][0]["debug"]["reason"] == "USER_NOT_FOUND"
    reply = await queries.send("POST", PATH, envelope(b""), **{"Content-Type": WEB})
    assert (reply.status, b"grpc-status: 3\r\n" in reply.body) == (200, True)
    assert handled() - before == {("POST", PATH, "404"): 1, ("POST", PATH, "400"): 1}


async def test_an_error_after_an_event(queries: Client, watched: Watched) -> None:
    """The events that were sent stay valid, and the last part says what happened."""
    before = handled()
    watched.events.put_nowait(EVENTS[0].SerializeToString())
    watched.events.put_nowait(errors.UserNotFoundError(7))
    reply = await queries.send("POST", PATH, REQUEST, **{"Content-Type": BINARY})
    first = envelope(EVENTS[0].SerializeToString())
    assert reply.body.startswith(first)
    assert _end(reply.body[len(first) :])["error"]["code"] == "not_found"
    assert handled() - before == {("POST", PATH, "404"): 1}


async def test_a_stream_takes_one_request_of_its_kind(queries: Client) -> None:
    """None, two, a compressed one and a unary one are refused."""
    for body in (b"", REQUEST + REQUEST):
        reply = await queries.send("POST", PATH, body, **{"Content-Type": BINARY})
        assert _end(reply.body)["error"]["code"] == "unimplemented"
    gzip = {"Content-Type": BINARY, "Connect-Content-Encoding": "gzip"}
    reply = await queries.send("POST", PATH, REQUEST, **gzip)
    assert _end(reply.body)["error"]["code"] == "unimplemented"
    assert reply.headers["connect-accept-encoding"] == "identity"
    reply = await queries.send("POST", PATH, {"user_id": 7})
    assert (reply.status, reply.headers["Content-Type"]) == (415, "text/plain; charset=utf-8")


async def test_a_stream_ends_at_its_deadline(queries: Client, watched: Watched) -> None:
    """Before the first event, which is a failure, and after it, which the client chose."""
    before = handled()
    timeout = {"Content-Type": BINARY, "Connect-Timeout-Ms": "100"}
    async with asyncio.timeout(DEADLINE_SECONDS):
        reply = await queries.send("POST", PATH, REQUEST, **timeout)
        assert _end(reply.body)["error"]["code"] == "deadline_exceeded"
        await watched.closed.wait()
        watched.events.put_nowait(EVENTS[0].SerializeToString())
        reply = await queries.send("POST", PATH, REQUEST, **timeout)
    first = envelope(EVENTS[0].SerializeToString())
    assert reply.body.startswith(first)
    assert _end(reply.body[len(first) :])["error"]["code"] == "deadline_exceeded"
    assert handled() - before == {("POST", PATH, "504"): 1, ("POST", PATH, "499"): 1}


async def test_a_client_that_leaves_ends_its_stream(
    queries: Client, read: Fake, watched: Watched
) -> None:
    """The method is closed, and the stream is no longer counted."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        stream = await _open(queries.port)
        watched.events.put_nowait(EVENTS[0].SerializeToString())
        await stream.begin()
        assert read.handlers.streams.count == 1
        stream.writer.close()
        await watched.closed.wait()
        while read.handlers.streams.count:  # noqa: ASYNC110 - a count
            await asyncio.sleep(0)


async def test_a_slow_client_holds_up_its_stream_alone(queries: Client, watched: Watched) -> None:
    """Events are taken from the method only while there is room for them on the connection."""
    many, size = 200, 100_000
    event = read_pb2.WatchHomeTimelineResponse(resume_token="x" * size).SerializeToString()
    for _ in range(many):
        watched.events.put_nowait(event)
    watched.events.put_nowait(None)
    async with asyncio.timeout(DEADLINE_SECONDS):
        stream = await _open(queries.port)
        await stream.begin()
        # Other calls are answered, so the stream has had its turns.
        for _ in range(20):
            assert (await queries.send("GET", "/health")).status == 200
        assert 0 < watched.taken < many
        for _ in range(many):
            assert await stream.chunk() == envelope(event)
        assert _end(await stream.chunk()) == {}
    stream.writer.close()


@pytest.mark.parametrize("kind", [BINARY, WEB])
async def test_a_drain_ends_streams(
    read: Fake, watched: Watched, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client learns that it may watch again, and when."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", DEADLINE_SECONDS)
    server = read.rest_server(Cors(""))
    await server.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        stream = await _open(server.port, kind)
        watched.events.put_nowait(EVENTS[0].SerializeToString())
        await stream.begin()
        assert await stream.chunk() == envelope(EVENTS[0].SerializeToString())
        draining = asyncio.create_task(server.drain())
        end = await stream.chunk()
        assert await stream.chunk() == b""
        await draining
    if kind == BINARY:
        error = _end(end)["error"]
        info, retry = error["details"]
        assert (error["code"], info["debug"]["reason"]) == ("unavailable", "SHUTTING_DOWN")
        delay = float(retry["debug"]["retry_delay"].removesuffix("s"))
        assert 0 <= delay <= WATCH_AGAIN_SECONDS
    else:
        assert b"grpc-status: 14\r\n" in end
    stream.writer.close()
