"""Limits of calls over Connect and gRPC-Web: their time, their size and their number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fanfare.read.v1 import read_pb2
from helpers.grpc_server import READ

from core.auth.authorizer import CountedCall
from core.auth.call_context import Context
from core.errors import UnauthenticatedError
from core.rpc.request_sizes import max_json_bytes, max_message_bytes
from gateway.envelopes import envelope

from .fakes import Client, Fake, Held
from .rpc_calls import (
    DEADLINE_SECONDS,
    GET_USER,
    JSON,
    PROTO,
    REQUEST,
    WRITE_PATH,
    error_info,
    post,
    trailers_in,
)


async def test_a_call_ends_at_its_deadline(queries: Client, read: Fake) -> None:
    """The method is cancelled, and the client gets the code that it expects."""
    web = "application/grpc-web+proto"
    for kind, header in ((PROTO, ("Connect-Timeout-Ms", "50")), (web, ("Grpc-Timeout", "50m"))):
        held = read.answers["GetUser"] = Held(read_pb2.GetUserResponse())
        message = REQUEST.SerializeToString()
        body = message if kind == PROTO else envelope(message)
        async with asyncio.timeout(DEADLINE_SECONDS):
            reply = await post(queries, GET_USER, body, kind, **dict([header]))
            await held.cancelled.wait()
        if kind == PROTO:
            assert (reply.status, reply.json["code"]) == (504, "deadline_exceeded")
        else:
            assert (reply.status, trailers_in(reply.body)["grpc-status"]) == (200, "4")


async def test_a_deadline_includes_the_body(queries: Client) -> None:
    """A client that does not send it is told in its own time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    writer.write(
        f"POST {GET_USER} HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTO}\r\n"
        "Connect-Timeout-Ms: 50\r\nContent-Length: 9\r\n\r\n".encode()
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await reader.readline()).split()[1] == b"504"
    writer.close()


async def test_a_client_that_leaves_cancels_its_call(queries: Client, read: Fake) -> None:
    """With a deadline, too."""
    held = read.answers["GetUser"] = Held(read_pb2.GetUserResponse())
    _, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    writer.write(
        f"POST {GET_USER} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n"
        "Connect-Timeout-Ms: 9000\r\nContent-Length: 13\r\n\r\n".encode()
        + b'{"user_id":7}'
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        await held.entered.wait()
        writer.close()
        await held.cancelled.wait()


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (PROTO, max_message_bytes(read_pb2.GetUserRequest.DESCRIPTOR)),
        (JSON, max_json_bytes(read_pb2.GetUserRequest.DESCRIPTOR)),
        ("application/grpc-web", max_message_bytes(read_pb2.GetUserRequest.DESCRIPTOR) + 5),
    ],
)
async def test_a_body_has_the_limit_of_its_form(queries: Client, kind: str, limit: int) -> None:
    """It is refused by its declared length, or as soon as it is longer."""
    for body in (b"x" * (limit + 1), _chunks(b"x" * limit, b"x")):
        reply = await post(queries, GET_USER, body, kind)
        assert b"larger than %d bytes" % limit in reply.body
    reply = await post(queries, GET_USER, b"x" * limit, kind)
    assert b"larger than" not in reply.body


class _Nobody:
    """An authorizer that refuses every caller before the request is read."""

    async def count(self, _context: Context) -> CountedCall:
        raise UnauthenticatedError


@pytest.mark.parametrize("kind", [PROTO, JSON, "application/grpc-web+proto"])
async def test_a_body_of_a_refused_caller_is_not_waited_for(
    queries: Client, read: Fake, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nobody can fill the memory with bodies that are never used."""
    handler = read.handlers.of(READ.methods_by_name["GetUser"])
    monkeypatch.setattr(handler, "_authorizer", _Nobody())
    reader, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    head = f"POST {GET_USER} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 900"
    writer.write(f"{head}\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_SECONDS):
        status = (await reader.readline()).split()[1]
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert status == (b"200" if "grpc" in kind else b"401")
    assert (b"www-authenticate: bearer" in answer) == ("grpc" not in kind)
    writer.close()


async def test_a_query_of_a_refused_caller_is_not_parsed(
    queries: Client, read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 64 KiB can take 25 ms, in which nobody else is served."""
    parsed: list[str] = []

    def parse(query: str, **_: object) -> list[tuple[str, str]]:
        parsed.append(query)
        return []

    monkeypatch.setattr("gateway.connect.parse_qsl", parse)
    query = "encoding=json&message=%7B%7D"
    assert (await queries.send("GET", f"{GET_USER}?{query}")).status == 400
    assert len(parsed) == 1
    handler = read.handlers.of(READ.methods_by_name["GetUser"])
    monkeypatch.setattr(handler, "_authorizer", _Nobody())
    assert (await queries.send("GET", f"{GET_USER}?{query}")).status == 401
    assert len(parsed) == 1


async def test_calls_count_against_the_limit_of_the_process(
    queries: Client, read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those over gRPC and REST do."""
    monkeypatch.setattr("core.rpc.calls.MAX_CALLS", 1)
    held = read.answers["GetUser"] = Held(read_pb2.GetUserResponse())
    async with asyncio.timeout(DEADLINE_SECONDS):
        first = asyncio.create_task(post(queries, GET_USER, REQUEST, PROTO))
        await held.entered.wait()
        reply = await post(queries, GET_USER, REQUEST, PROTO)
        held.release.set()
        assert (await first).status == 200
    assert (reply.status, reply.json["code"]) == (503, "unavailable")
    assert error_info(reply.json["details"][0]).reason == "TOO_MANY_CALLS"


async def test_the_largest_batch_is_parsed_in_a_thread(commands: Client, write: Fake) -> None:
    """Parsing it would block the event loop; its JSON may escape everything."""
    item = {"user_id": str(2**62), "content": "👋" * 280}
    batch = {"requests": [item] * 1000}
    reply = await post(commands, WRITE_PATH + "BatchCreateTweets", batch, JSON)
    assert reply.status == 200
    message = write.requests[0]
    reply = await post(commands, WRITE_PATH + "BatchCreateTweets", message, PROTO)
    assert reply.status == 200
    assert write.requests == [message, message]
