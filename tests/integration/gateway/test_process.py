"""`python -m gateway` as its operator sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2

from .fakes import Client, Fake, Held

DEADLINE_SECONDS = 20.0


def _free_ports() -> list[int]:
    address = ("127.0.0.1", 0)
    with socket.create_server(address) as one, socket.create_server(address) as two:
        return [one.getsockname()[1], two.getsockname()[1]]


@asynccontextmanager
async def _gateway(
    write: Fake, read: Fake, ports: list[int], **settings: str
) -> AsyncIterator[Process]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FANFARE_")} | {
        "FANFARE_WRITE_TARGET": f"127.0.0.1:{write.server.port}",
        "FANFARE_READ_TARGET": f"127.0.0.1:{read.server.port}",
        "FANFARE_REST_WRITE_PORT": str(ports[0]),
        "FANFARE_REST_READ_PORT": str(ports[1]),
        "PYTHONPATH": "gen",
        **settings,
    }
    process = await create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _until_serving(client: Client) -> None:
    while True:
        try:
            if (await client.send("GET", "/health")).status == 200:
                return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.05)


async def test_a_drain_lets_requests_finish(
    write: Fake, read: Fake, session: aiohttp.ClientSession
) -> None:
    """After SIGTERM requests under way are answered, new ones are not taken, the exit is clean."""
    ports = _free_ports()
    commands, queries = (Client(session, port) for port in ports)
    deletion = Held(write_pb2.DeleteUserResponse(consistency_token="kept"))
    query = Held(read_pb2.GetUserResponse())
    write.answers["DeleteUser"], read.answers["GetUser"] = deletion, query
    async with _gateway(write, read, ports) as process, asyncio.timeout(DEADLINE_SECONDS):
        await _until_serving(commands)
        await _until_serving(queries)
        async with asyncio.TaskGroup() as group:
            deleted = group.create_task(commands.send("DELETE", "/users/1"))
            queried = group.create_task(queries.send("GET", "/users/1"))
            await deletion.entered.wait()
            await query.entered.wait()
            process.send_signal(signal.SIGTERM)
            for port in ports:
                await _until_refused(port)
            deletion.release.set()
            query.release.set()
        _, log = await process.communicate()
    assert deleted.result().status == 204
    assert deleted.result().headers["Fanfare-Consistency-Token"] == "kept"
    assert queried.result().status == 200
    assert process.returncode == 0
    assert b"Traceback" not in log


async def _until_refused(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            # Refused; or reset, for one that stood in the queue of the socket as it closed.
            return
        writer.close()
        await asyncio.sleep(0.02)


async def test_a_taken_port_ends_the_process_with_one_sentence(write: Fake, read: Fake) -> None:
    """The operator reads which port it is and what to do, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = [_free_ports()[0], port]
        async with _gateway(write, read, ports) as process, asyncio.timeout(DEADLINE_SECONDS):
            _, log = await process.communicate()
    assert process.returncode == 1
    last = log.decode().splitlines()[-1]
    assert last.startswith(f"fanfare: cannot listen on 127.0.0.1:{port}: another process")
    assert "FANFARE_REST_READ_PORT" in last
    assert "Traceback" not in log.decode()


async def test_an_address_that_others_reach_is_refused_at_start(write: Fake, read: Fake) -> None:
    """The process ends before it listens, with one sentence that names the cure."""
    async with _gateway(write, read, _free_ports(), FANFARE_BIND="0.0.0.0") as process:
        async with asyncio.timeout(DEADLINE_SECONDS):
            _, text = await process.communicate()
    assert process.returncode == 1
    assert text.decode().startswith("fanfare: FANFARE_BIND lets other machines connect")
    assert b"FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT=true" in text


async def test_the_log_says_that_authentication_is_off(write: Fake, read: Fake) -> None:
    """Whoever starts it without protection reads so, with the address."""
    async with _gateway(write, read, _free_ports()) as process:
        assert process.stderr is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            line = await process.stderr.readline()
    assert b"WARNING" in line
    assert b"authentication is off: whoever reaches 127.0.0.1" in line
