"""How a REST server drains."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2
from helpers.grpc_server import GRPC_SERVER

from core.rpc.server_choice import grpc_server as build_grpc_server
from gateway.cors import Cors

from .fakes import Client, Fake, Held

DEADLINE_SECONDS = 8.0


async def test_clients_are_told_to_connect_again(
    write: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle connection takes one more request, whose answer closes it; the port is free."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 2 * DEADLINE_SECONDS)
    server = write.rest_server(Cors(""))
    await server.start()
    client = Client(session, server.port)
    async with asyncio.timeout(DEADLINE_SECONDS):
        reply = await client.send("DELETE", "/users/1")
        assert (reply.status, reply.headers.get("Connection")) == (204, None)
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)  # the listening socket is closed in the drain's first step
        successor = write.rest_server(Cors(""), server.port)
        await successor.start()
        reply = await client.send("DELETE", "/users/2")
        assert (reply.status, reply.headers.get("Connection")) == (204, "close")
        await draining
        reply = await client.send("DELETE", "/users/3")
        assert (reply.status, reply.headers.get("Connection")) == (204, None)
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 0.0)
    await successor.drain()


async def test_requests_under_way_finish(write: Fake, session: aiohttp.ClientSession) -> None:
    """A drain waits for requests under way, whose answers close their connections."""
    held = write.answers["DeleteUser"] = Held(write_pb2.DeleteUserResponse())
    server = write.rest_server(Cors(""))
    await server.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        under_way = asyncio.create_task(Client(session, server.port).send("DELETE", "/users/1"))
        await held.entered.wait()
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        held.release.set()
        reply = await under_way
        assert (reply.status, reply.headers.get("Connection")) == (204, "close")
        await draining


async def test_health_tells_of_a_drain(
    read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a connection that is still open, /health is NOT_SERVING, whatever gRPC's health is."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 2 * DEADLINE_SECONDS)
    server = read.rest_server(Cors(""))
    await server.start()
    client = Client(session, server.port)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await client.send("GET", "/health")).status == 200
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        reply = await client.send("GET", "/health")
        assert (reply.status, reply.json["status"]) == (503, "NOT_SERVING")
        await draining


async def test_a_process_that_drains_refuses_grpc_and_answers_rest(
    read: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of gRPC retry elsewhere by their service config; REST clients need no retries."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 2 * DEADLINE_SECONDS)
    held = read.answers["GetTweet"] = Held(read_pb2.GetTweetResponse())
    grpc_server = build_grpc_server(GRPC_SERVER, "127.0.0.1", 0, read.handlers)
    rest_server = read.rest_server(Cors(""))
    await grpc_server.start()
    await rest_server.start()
    client = Client(session, rest_server.port)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        grpc.aio.insecure_channel(f"127.0.0.1:{grpc_server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        assert (await client.send("GET", "/users/1")).status == 200
        # A call that is under way keeps its connection open during the drain.
        under_way = stub.GetTweet(read_pb2.GetTweetRequest(tweet_id=1))
        await held.entered.wait()
        draining = asyncio.gather(grpc_server.drain(), rest_server.drain())
        while grpc_server.is_serving():  # noqa: ASYNC110 - the drain's first step
            await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError, match="shutting down"):
            await stub.GetUser(read_pb2.GetUserRequest(user_id=1))
        reply = await client.send("GET", "/users/1")
        assert (reply.status, reply.headers.get("Connection")) == (200, "close")
        held.release.set()
        assert await under_way == read_pb2.GetTweetResponse()
        await draining
