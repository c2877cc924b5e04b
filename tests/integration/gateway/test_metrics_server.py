"""The port for metrics and probes of one process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from core.runtime.process import StartError
from gateway.listener import Listener
from gateway.metrics_server import MetricsServer, Probes

from .fakes import Client

HOST = "127.0.0.1"


class _Process:
    """What the probes are told."""

    def __init__(self) -> None:
        self.is_ready = True
        self.stuck: str | None = None
        self.redis: str | None = None

    @property
    def probes(self) -> Probes:
        """The probes of the process."""
        return Probes(
            lambda: self.is_ready,
            {"Postgres": lambda: None, "Redis": lambda: self.redis},
            lambda: self.stuck,
        )


@pytest.fixture
def process() -> _Process:
    """Return a process without trouble."""
    return _Process()


@pytest.fixture
async def client(process: _Process, session: aiohttp.ClientSession) -> AsyncIterator[Client]:
    """Yield a client of the port."""
    server = MetricsServer(Listener(HOST, 0), process.probes)
    await server.start()
    yield Client(session, server.port)
    await server.close()


async def test_prometheus_gets_the_text_format(client: Client) -> None:
    """Its parser accepts it, and finds the same metrics as prometheus_client's own answer has."""
    reply = await client.send("GET", "/metrics")
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found, expected = (
        {sample.name for family in parse(text.decode()) for sample in family.samples}
        for text in (reply.body, generate_latest())
    )
    assert found == expected
    assert {"fanfare_events_total", "process_cpu_seconds_total", "python_info"} <= found


async def test_probes_answer_what_the_process_says(client: Client, process: _Process) -> None:
    """/livez and /readyz differ; /health shows each part, and is up while the process is ready."""
    assert await _statuses(client) == [200, 200, 200]
    process.redis = "Redis does not answer"
    assert await _statuses(client) == [200, 200, 200]
    health = await client.send("GET", "/health")
    assert health.json["status"] == "SERVING"
    assert health.json["parts"] == {"Postgres": "ok", "Redis": "Redis does not answer"}
    process.is_ready = False
    assert await _statuses(client) == [200, 503, 503]
    assert (await client.send("GET", "/health")).json["status"] == "NOT_SERVING"
    process.is_ready, process.stuck = True, "a step has been under way for 99 s"
    assert await _statuses(client) == [503, 200, 200]


async def test_a_loop_that_is_stuck_is_not_live(client: Client) -> None:
    """The loop itself answers, so nothing answers while it does not turn."""
    released, unanswered = threading.Event(), threading.Event()

    def ask() -> None:
        with socket.create_connection((HOST, client.port)) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.settimeout(0.3)
            try:
                connection.recv(1)
            except TimeoutError:
                unanswered.set()
            released.set()

    asking = threading.Thread(target=ask)
    asking.start()
    released.wait()  # the loop waits here
    asking.join()
    assert unanswered.is_set()
    assert (await client.send("GET", "/livez")).status == 200


async def test_other_requests_are_refused(client: Client) -> None:
    """With a sentence that says what the port has."""
    lost = await client.send("GET", "/")
    assert (lost.status, lost.body) == (
        404,
        b"no such path; this port has /metrics, /livez, /readyz, /health\n",
    )
    refused = await client.send("POST", "/metrics", b"")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert (await client.send("HEAD", "/metrics")).status == 200


async def test_a_taken_port_is_one_sentence(process: _Process) -> None:
    """It names the setting to change."""
    with socket.create_server((HOST, 0)) as taken:
        server = MetricsServer(
            Listener(HOST, taken.getsockname()[1], setting="FANFARE_METRICS_PORT"), process.probes
        )
        with pytest.raises(StartError, match="set FANFARE_METRICS_PORT to another port"):
            await server.start()
        await server.close()


async def _statuses(client: Client) -> list[int]:
    paths = "/livez", "/readyz", "/health"
    replies = await asyncio.gather(*(client.send("GET", path) for path in paths))
    return [reply.status for reply in replies]
