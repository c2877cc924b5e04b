"""`python -m gateway` as its operator sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec

import aiohttp
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2

from .fakes import Client, Fake, Held

DEADLINE_SECONDS = 20.0


def _free_ports() -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        return [one.getsockname()[1], two.getsockname()[1]]


async def _start(write: Fake, read: Fake, ports: list[int]) -> Process:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FANFARE_")} | {
        "FANFARE_WRITE_TARGET": f"127.0.0.1:{write.server.port}",
        "FANFARE_READ_TARGET": f"127.0.0.1:{read.server.port}",
        "FANFARE_REST_WRITE_PORT": str(ports[0]),
        "FANFARE_REST_READ_PORT": str(ports[1]),
        "PYTHONPATH": "gen",
    }
    return await create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment, stderr=PIPE
    )


async def _until_serving(client: Client) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                if (await client.send("GET", "/health")).status == 200:
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def test_a_drain_lets_requests_finish(
    write: Fake, read: Fake, session: aiohttp.ClientSession
) -> None:
    """After SIGTERM requests under way are answered, new ones are not taken, the exit is clean."""
    ports = _free_ports()
    process = await _start(write, read, ports)
    commands, queries = (Client(session, port) for port in ports)
    await _until_serving(commands)
    await _until_serving(queries)
    held = [
        Held(write_pb2.DeleteUserResponse(consistency_token="kept")),
        Held(read_pb2.GetUserResponse()),
    ]
    write.answers["DeleteUser"], read.answers["GetUser"] = held
    calls = [
        asyncio.create_task(commands.send("DELETE", "/users/1")),
        asyncio.create_task(queries.send("GET", "/users/1")),
    ]
    async with asyncio.timeout(DEADLINE_SECONDS):
        for answer in held:
            await answer.entered.wait()
        process.send_signal(signal.SIGTERM)
        for port in ports:
            await _until_refused(port)
        for answer in held:
            answer.release.set()
        replies = await asyncio.gather(*calls)
        _, log = await process.communicate()
    assert [reply.status for reply in replies] == [204, 200]
    assert replies[0].headers["Fanfare-Consistency-Token"] == "kept"
    assert process.returncode == 0
    assert b"Traceback" not in log


async def _until_refused(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.02)


async def test_a_taken_port_ends_the_process_with_one_sentence(write: Fake, read: Fake) -> None:
    """The operator reads which port it is and what to do, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await _start(write, read, [_free_ports()[0], port])
        async with asyncio.timeout(DEADLINE_SECONDS):
            _, log = await process.communicate()
    assert process.returncode == 1
    last = log.decode().splitlines()[-1]
    assert last.startswith(f"fanfare: cannot listen on 127.0.0.1:{port}: another process")
    assert "FANFARE_REST_READ_PORT" in last
    assert "Traceback" not in log.decode()
