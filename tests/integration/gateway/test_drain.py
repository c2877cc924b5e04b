"""A gateway that stops, and services that stop behind it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from fanfare.write.v1 import write_pb2
from helpers.grpc_server import WRITE

from core import errors
from gateway.cors import Cors
from gateway.server import Server
from gateway.service import Service

from .fakes import Client, Fake, Held

DEADLINE_SECONDS = 8.0


async def _authentication(client: Client) -> str:
    return str((await client.send("GET", "/health")).json["authentication"])


def _successor(fake: Fake) -> Fake:
    """Return another service for the port of this one, not started."""
    again = Fake(fake.descriptor)
    again.server.port = fake.server.port
    return again


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_command_refused_by_a_drain_is_made_at_the_successor(
    commands: Client, write: Fake, *, is_late: bool
) -> None:
    """Once there is one; commands under way finish where they are, each is made once."""
    held = Held(write_pb2.DeleteUserResponse())
    write.answers["DeleteUser"] = held
    again = _successor(write)
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        first = group.create_task(commands.send("DELETE", "/users/1"))
        await held.entered.wait()
        draining = group.create_task(write.server.drain())
        # The drain has begun when the gateway hears of it.
        while (await commands.send("GET", "/health")).status == 200:
            pass
        if not is_late:
            await again.server.start()
        others = [group.create_task(commands.send("DELETE", f"/users/{n}")) for n in range(2, 10)]
        if is_late:
            # The gateway has left the connection, and no process answers.
            while await _authentication(commands) != "unknown":
                pass
            await again.server.start()
        assert [(await other).status for other in others] == [204] * 8
        held.release.set()
        assert (await first).status == 204
        await draining
    assert [request.user_id for request in write.requests] == [1]  # type: ignore[attr-defined]
    made = sorted(request.user_id for request in again.requests)  # type: ignore[attr-defined]
    assert made == list(range(2, 10))
    await again.server.drain()


async def test_without_a_successor_the_caller_reads_that_nothing_was_done(
    commands: Client, write: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 after a while, and no longer than that."""
    monkeypatch.setattr("gateway.service.MOVE_SECONDS", 0.2)
    write.answers["DeleteUser"] = errors.ShuttingDownError()
    async with asyncio.timeout(DEADLINE_SECONDS):
        reply = await commands.send("DELETE", "/users/1")
    assert (reply.status, reply.reason) == (503, "SHUTTING_DOWN")


async def test_a_command_whose_outcome_is_unknown_is_not_repeated(
    commands: Client, write: Fake
) -> None:
    """UNAVAILABLE for another reason is the caller's to decide about."""
    write.answers["DeleteUser"] = errors.DatabaseUnavailableError()
    reply = await commands.send("DELETE", "/users/1")
    assert (reply.status, reply.reason) == (503, "DATABASE_UNAVAILABLE")
    assert len(write.requests) == 1


async def test_a_gateway_that_stops_tells_its_clients_to_connect_again(
    write: Fake, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle connection takes one more request, whose answer closes it; the port is free."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 2 * DEADLINE_SECONDS)
    service = Service(f"127.0.0.1:{write.server.port}", WRITE)
    server = Server("127.0.0.1", 0, service, Cors(""), ())
    await server.start()
    client = Client(session, server.port)
    async with asyncio.timeout(DEADLINE_SECONDS):
        reply = await client.send("DELETE", "/users/1")
        assert (reply.status, reply.headers.get("Connection")) == (204, None)
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)  # the listening socket is closed in the drain's first step
        successor = Server("127.0.0.1", server.port, service, Cors(""), ())
        await successor.start()
        reply = await client.send("DELETE", "/users/2")
        assert (reply.status, reply.headers.get("Connection")) == (204, "close")
        await draining
        reply = await client.send("DELETE", "/users/3")
        assert (reply.status, reply.headers.get("Connection")) == (204, None)
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 0.0)
    await successor.drain()
    await service.close()
