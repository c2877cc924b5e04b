"""Streams over REST, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as pb
from helpers.grpc_server import READ, Watched
from prometheus_client import REGISTRY

from core.errors import UserNotFoundError
from core.rpc import streams as core_streams
from core.rpc.handlers import Handlers
from core.rpc.observed_calls import CallObserver
from core.runtime.access_log import AccessLog
from core.settings import LogFormat
from gateway import listener
from gateway.cors import Cors
from gateway.listener import Listener
from gateway.server import RestServer

from .fakes import Client, Fake

DEADLINE_SECONDS = 8.0
PATH = "/timeline/7/stream"
ROUTE = "/timeline/{user_id}/stream"
EVENTS = [
    pb.WatchHomeTimelineResponse(tweet=Tweet(id=1, content="hello"), resume_token="a"),
    pb.WatchHomeTimelineResponse(removed_tweet_id=2, resume_token="b"),
    pb.WatchHomeTimelineResponse(heartbeat=pb.Heartbeat(), resume_token="b"),
]
BYTES = [event.SerializeToString() for event in EVENTS]
LARGE = pb.WatchHomeTimelineResponse(tweet=Tweet(content="x" * 10_000)).SerializeToString()
SECOND = 'id: b\nevent: removed\ndata: {"removed_tweet_id": "2"}\n\n'
THIRD = ": heartbeat\n\n"


def _watched(read: Fake, *events: bytes) -> Watched:
    """Let a fake service send these events."""
    watched = Watched(*events)
    read.streams["WatchHomeTimeline"] = watched.WatchHomeTimeline
    return watched


@asynccontextmanager
async def _opened(
    queries: Client, session: aiohttp.ClientSession, path: str = PATH, **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield the answer to a request for a stream, of which the first line was read."""
    url = f"http://127.0.0.1:{queries.port}{path}"
    async with asyncio.timeout(DEADLINE_SECONDS), session.get(url, headers=headers) as answer:
        assert answer.status == 200
        name, _, delay = (await _event(answer)).partition(": ")
        assert name == "retry"
        assert 1000 <= int(delay) <= 5000
        yield answer


async def _event(answer: aiohttp.ClientResponse) -> str:
    """Return the next event, up to the empty line after it; "" at the end."""
    text = b""
    while not text.endswith(b"\n\n"):
        line = await answer.content.readline()
        if not line:
            return text.decode()
        text += line
    return text.decode()


async def test_a_stream(queries: Client, read: Fake, session: aiohttp.ClientSession) -> None:
    """It begins with `retry`, and nothing on the way may store, compress or buffer it."""
    _watched(read, *BYTES)
    path = f"{PATH}?limit=3&consistency_token=c&resume_token=r"
    async with _opened(queries, session, path, **{"Accept-Encoding": "gzip, br"}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Encoding" not in answer.headers
        first = await _event(answer)
        assert json.loads(first.splitlines()[2].removeprefix("data: ")) == {
            "tweet": {"id": "1", "user_id": "0", "content": "hello"}
        }
        assert first.splitlines()[:2] == ["id: a", "event: tweet"]
        assert [await _event(answer) for _ in range(2)] == [SECOND, THIRD]
    assert read.requests == [
        pb.WatchHomeTimelineRequest(user_id=7, limit=3, consistency_token="c", resume_token="r")
    ]


@pytest.mark.parametrize(
    ("query", "header", "token"),
    [("", "new", "new"), ("?resume_token=old", "new", "new"), ("?resume_token=old", "", "old")],
)
async def test_the_last_event_id_is_the_newest_resume_token(
    queries: Client,
    read: Fake,
    session: aiohttp.ClientSession,
    query: str,
    header: str,
    token: str,
) -> None:
    """A browser that connects again sends it, and the query as it was."""
    _watched(read, *BYTES)
    async with _opened(queries, session, PATH + query, **{"Last-Event-ID": header}):
        pass
    assert read.requests == [pb.WatchHomeTimelineRequest(user_id=7, resume_token=token)]


@pytest.mark.parametrize(
    ("path", "header"),
    [
        (PATH, "x" * 4097),
        (f"{PATH}?limit=-1", ""),
        (f"{PATH}?limit=x", ""),
        (f"{PATH}?offset=1", ""),
        ("/timeline/0/stream", ""),
        ("/timeline/x/stream", ""),
    ],
)
async def test_an_unusable_request_is_400(
    queries: Client, read: Fake, path: str, header: str
) -> None:
    """Whether it is in the path, the query or the header."""
    reply = await queries.send("GET", path, **{"Last-Event-ID": header})
    assert (reply.status, reply.reason) in {
        (400, "INVALID_REQUEST"),
        (400, "MALFORMED_REQUEST"),
    }
    assert not read.requests


async def test_a_last_event_id_that_is_not_utf_8_is_400(queries: Client, read: Fake) -> None:
    """No resume token is so, and no message could hold it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    writer.write(f"GET {PATH} HTTP/1.0\r\nLast-Event-ID: ".encode() + b"\xff\r\n\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"INVALID_REQUEST" in answer
    assert not read.requests


async def test_other_verbs_and_bodies_are_refused(queries: Client, read: Fake) -> None:
    """As on every path with a query."""
    assert (await queries.send("POST", PATH, {})).headers["Allow"] == "GET, HEAD"
    assert (await queries.send("GET", PATH, {"limit": 1})).status == 400
    assert not read.requests


async def test_an_error_before_the_first_event_is_an_ordinary_answer(
    queries: Client, read: Fake
) -> None:
    """Its status tells a program more than a stream with an error could."""
    _watched(read).error = UserNotFoundError(7)
    reply = await queries.send("GET", PATH)
    assert (reply.status, reply.reason) == (404, "USER_NOT_FOUND")
    assert reply.headers["Content-Type"] == "application/json"


async def test_an_error_after_events_is_an_event(
    queries: Client, read: Fake, session: aiohttp.ClientSession
) -> None:
    """Then the stream ends; the connection can be used again."""
    _watched(read, BYTES[1]).error = UserNotFoundError(7)
    async with _opened(queries, session) as answer:
        assert await _event(answer) == SECOND
        name, data = (await _event(answer)).strip().split("\n")
        assert name == "event: error"
        assert json.loads(data.removeprefix("data: "))["code"] == 5
        assert await _event(answer) == ""
        assert answer.headers.get("Connection") is None


async def test_a_bug_after_events_is_an_event_too(
    queries: Client, read: Fake, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a word of what is wrong, which is in the log."""
    _watched(read, BYTES[1], b"\xff")
    async with _opened(queries, session) as answer:
        assert await _event(answer) == SECOND
        text = await _event(answer)
        assert text.startswith("event: error\n")
        assert '"INTERNAL"' in text
        assert await _event(answer) == ""
    assert f"stream failed route=GET {ROUTE}" in caplog.text


async def test_a_stream_has_no_deadline_after_its_first_event(
    queries: Client,
    read: Fake,
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is its connection idle, however rarely something is sent."""
    monkeypatch.setattr("gateway.deadlines.CALL_SECONDS", 0.05)
    _watched(read)
    reply = await queries.send("GET", PATH)
    assert (reply.status, reply.reason) == (504, "DEADLINE_EXCEEDED")

    async def slowly(_request: Any, _context: Any) -> AsyncGenerator[bytes, None]:
        for event in BYTES[1:]:
            yield event
            await asyncio.sleep(0.2)

    read.streams["WatchHomeTimeline"] = slowly
    async with _opened(queries, session) as answer:
        assert [await _event(answer) for _ in range(3)] == [SECOND, THIRD, ""]


async def test_head_tells_what_get_would(queries: Client, read: Fake) -> None:
    """Without opening a stream for longer than that takes."""
    watched = _watched(read, *BYTES)
    async with asyncio.timeout(DEADLINE_SECONDS):
        reply = await queries.send("HEAD", PATH)
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["Content-Type"] == "text/event-stream"
        await watched.closed.acquire()
        assert read.handlers.streams.count == 0
        watched.error = UserNotFoundError(7)
        assert (await queries.send("HEAD", "/timeline/0/stream")).status == 400
        assert (await queries.send("GET", "/health")).status == 200


async def test_a_client_of_http_1_0_reads_to_the_end_of_the_connection(
    queries: Client, read: Fake
) -> None:
    """It does not know chunks."""
    _watched(read, BYTES[1]).error = UserNotFoundError(7)
    reader, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    writer.write(f"GET {PATH} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_SECONDS):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    assert "Transfer-Encoding" not in head
    assert "Connection: close" in head
    assert body.startswith("retry: ")
    assert SECOND in body
    assert body.endswith("\n\n")


async def test_a_client_that_leaves_ends_its_stream(queries: Client, read: Fake) -> None:
    """Whether something is being sent or not."""
    for events in (BYTES, [LARGE] * 1000):
        watched = _watched(read, *events)
        _, writer = await asyncio.open_connection("127.0.0.1", queries.port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(DEADLINE_SECONDS):
            while watched.sent < 2:  # noqa: ASYNC110 - a count
                await asyncio.sleep(0.01)
            writer.transport.abort()
            await watched.closed.acquire()
        assert read.handlers.streams.count == 0


async def _until_held_up(watched: Watched) -> int:
    """Return how many events were asked for when no more are."""
    while True:
        before = watched.sent
        await asyncio.sleep(0.2)
        if before and watched.sent == before:
            return before


async def _unread(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a stream, and read nothing of it."""
    # asyncio reads up to twice the limit by itself.
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def test_a_client_that_does_not_read_gets_no_more_events(queries: Client, read: Fake) -> None:
    """The kernel's buffers take some megabytes; then the method waits until it reads."""
    watched = _watched(read, *[LARGE] * 10_000)
    async with asyncio.timeout(2 * DEADLINE_SECONDS):
        reader, writer = await _unread(queries.port)
        sent = await _until_held_up(watched)
        assert sent < 5000
        while watched.sent < sent + 3:
            await reader.read(1 << 16)
        writer.transport.abort()
        await watched.closed.acquire()


async def test_a_drain_ends_streams_with_a_delay(
    read: Fake, session: aiohttp.ClientSession
) -> None:
    """It does not wait for them; the delay differs, so that they do not come back together."""
    watched = _watched(read, *BYTES)
    server = read.rest_server(Cors(""))
    await server.start()
    client = Client(session, server.port)
    delays = set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with _opened(client, session) as one, _opened(client, session) as other:
            for _ in range(2):
                await watched.waiting.acquire()
            draining = asyncio.create_task(server.drain())
            for answer in (one, other):
                for _ in BYTES:
                    await _event(answer)
                name, _, delay = (await _event(answer)).partition(": ")
                assert name == "retry"
                delays.add(int(delay))
                assert await _event(answer) == ""
        await draining
    assert len(delays) == 2
    assert 0 <= min(delays) <= max(delays) <= 5000


async def test_a_client_that_does_not_read_does_not_hold_up_a_drain(
    read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closed."""
    monkeypatch.setattr(core_streams, "SENDING_SECONDS", 0.1)
    watched = _watched(read, *[LARGE] * 10_000)
    server = read.rest_server(Cors(""))
    await server.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, writer = await _unread(server.port)
        await _until_held_up(watched)
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


async def test_pages_of_other_origins(
    queries: Client, read: Fake, session: aiohttp.ClientSession
) -> None:
    """Those that are allowed may read a stream, and go on with the last event's id."""
    _watched(read, *BYTES)
    async with _opened(queries, session, Origin="https://app.example") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    async with _opened(queries, session, Origin="https://evil.example") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    preflight = await queries.send("OPTIONS", PATH, Origin="https://app.example")
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert "Last-Event-ID" in preflight.headers["Access-Control-Allow-Headers"]


async def test_streams_above_the_limit_are_429(
    queries: Client, read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted together with those over gRPC, and apart from calls."""
    monkeypatch.setattr(read.handlers.streams, "_most", 2)
    monkeypatch.setattr("core.rpc.calls.MAX_CALLS", 1)
    watched = _watched(read, *BYTES)
    with read.handlers.streams.opened("over gRPC"):
        async with _opened(queries, session):
            assert (await queries.send("GET", "/users/1")).status == 200
            reply = await queries.send("GET", PATH)
            assert (reply.status, reply.reason) == (429, "TOO_MANY_WATCHES")
            assert reply.headers["Retry-After"] == "5"
            assert "close one" in reply.json["message"]
        await watched.closed.acquire()
        async with _opened(queries, session):
            pass


async def test_streams_leave_the_connections_of_a_port_to_calls(
    read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that carries a stream does not count towards the limit."""
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 1)
    _watched(read, *BYTES)
    server = read.rest_server(Cors(""))
    await server.start()
    client = Client(session, server.port)
    async with _opened(client, session), _opened(client, session):
        assert (await client.send("GET", "/health")).status == 200
    await server.drain()


def _handled() -> Counter[tuple[str, ...]]:
    return Counter(
        {
            tuple(sample.labels.values()): int(sample.value)
            for family in REGISTRY.collect()
            if family.name in {"http_server_handled", "http_server_handling_seconds"}
            for sample in family.samples
            if sample.labels["http_route"] == ROUTE
            and sample.name in {"http_server_handled_total", "http_server_handling_seconds_count"}
        }
    )


async def test_streams_are_counted_when_they_end(
    read: Fake, session: aiohttp.ClientSession
) -> None:
    """As 499 if the client has left, as 200 if a drain ended them; the first event is timed."""
    server = read.rest_server(Cors(""))
    before = _handled()
    await server.start()
    client = Client(session, server.port)
    watched = _watched(read, *BYTES)
    async with _opened(client, session):
        pass
    await watched.closed.acquire()
    watched = _watched(read, BYTES[1])
    watched.error = UserNotFoundError(7)
    async with _opened(client, session) as answer:
        await answer.read()
    _watched(read).error = UserNotFoundError(7)
    await client.send("GET", PATH)
    watched = _watched(read, *BYTES)
    async with _opened(client, session) as answer:
        await watched.waiting.acquire()
        draining = asyncio.create_task(server.drain())
        await answer.read()
    await draining
    assert _handled() - before == {
        ("GET", ROUTE, "499"): 1,
        ("GET", ROUTE, "404"): 2,
        ("GET", ROUTE, "200"): 1,
        ("GET", ROUTE): 3,
    }


async def test_streams_have_a_line_in_the_access_log(session: aiohttp.ClientSession) -> None:
    """When they end, with what ended them."""
    lines: list[str] = []
    log = AccessLog(LogFormat.TEXT, lines.append)
    handlers = Handlers(observer=CallObserver(None, log))
    watched = Watched(*BYTES)
    handlers.add_service(READ, watched)
    server = RestServer(Listener("127.0.0.1", 0), handlers, lambda: True, Cors(""))
    await server.start()
    client = Client(session, server.port)
    async with _opened(client, session):
        pass
    await watched.closed.acquire()
    watched.error = UserNotFoundError(7)
    async with _opened(client, session) as answer:
        await answer.read()
    assert (await client.send("GET", "/timeline/0/stream")).status == 400
    await server.drain()
    log.flush()
    ends = [
        line.partition(" code=")[2].partition(" ms=")[0] for line in "".join(lines).splitlines()
    ]
    assert ends == ["499 reason=-", "404 reason=USER_NOT_FOUND", "400 reason=INVALID_REQUEST"]
    assert all(f'transport=rest name="GET {ROUTE}"' in line for line in lines)
