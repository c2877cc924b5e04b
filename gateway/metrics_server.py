"""The HTTP server for metrics and probes, which each process runs on a port of its own.

The event loop of the process answers, so that a loop that is stuck answers nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from aiohttp import hdrs, web
from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from core.rpc.health import Trouble
from core.rpc.tls import Certificates
from core.runtime.build_info import version
from core.runtime.metrics_ports import Program, metrics_port
from core.settings import Settings
from gateway.answers import Answer
from gateway.listener import Listener
from gateway.messages import guarded
from gateway.response_headers import fixed_lines

LOG = logging.getLogger(__name__)
# Longer than the interval between two scrapes usually is, so that Prometheus keeps its connection.
IDLE_SECONDS = 75.0
_TEXT = "text/plain; charset=utf-8"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Probes:
    """What the probes of a process ask. The functions must not wait for anything."""

    is_ready: Callable[[], bool]
    """Returns whether callers should be sent to this process, as the health over gRPC says."""
    parts: Mapping[str, Trouble]
    """Returns what is wrong with each server that the process uses, or with a part of it."""
    stuck: Trouble = lambda: None
    """Returns why the process must be started again; a loop that is stuck need not be told."""


class MetricsServer:
    """Serves /metrics for Prometheus, /livez and /readyz for supervisors, /health for people."""

    def __init__(self, listener: Listener, probes: Probes) -> None:
        """Prepare a server; the listener is where to listen."""
        self._listener = listener
        self._probes = probes
        self._fixed_lines = fixed_lines(is_https=listener.is_https)
        self._answers: dict[str, Callable[[], Awaitable[Answer]]] = {
            "/metrics": _metrics,
            "/livez": self._live,
            "/readyz": self._ready,
            "/health": self._health,
        }
        self._runner: web.ServerRunner | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on, after start()."""
        return self._listener.port

    async def start(self) -> None:
        """Listen.

        Raises:
            StartError: the port is taken, or the address is not this machine's.
        """
        # aiohttp asks a response only for what an Answer has.
        handler = cast("Handler", self._respond)
        server = web.Server(handler, access_log=None, keepalive_timeout=IDLE_SECONDS)
        server.request_factory = guarded(server.request_factory)
        self._runner = web.ServerRunner(server, shutdown_timeout=0)
        await self._runner.setup()
        self._listener.start(server)
        LOG.info("serving metrics port=%d", self.port)

    async def close(self) -> None:
        """Free the port, and close the connections."""
        if self._runner is not None:
            self._listener.close()
            self._listener.abort()
            await self._runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> Answer:
        answering = self._answers.get(request.path)
        if answering is None:
            paths = ", ".join(self._answers)
            answer = _text(HTTPStatus.NOT_FOUND, f"no such path; this port has {paths}")
        elif request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            answer = _text(HTTPStatus.METHOD_NOT_ALLOWED, "this port takes only GET and HEAD")
            answer.headers[hdrs.ALLOW] = "GET, HEAD"
        else:
            answer = await answering()
        answer.fixed_lines = self._fixed_lines
        return answer

    async def _live(self) -> Answer:
        reason = self._probes.stuck()
        if reason is None:
            return _text(HTTPStatus.OK, "live")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"stuck: {reason}")

    async def _ready(self) -> Answer:
        if self._probes.is_ready():
            return _text(HTTPStatus.OK, "ready")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, "not ready; /health says more")

    async def _health(self) -> Answer:
        is_ready = self._probes.is_ready()
        report = {
            "status": "SERVING" if is_ready else "NOT_SERVING",
            "version": version(),
            "parts": {name: trouble() or "ok" for name, trouble in self._probes.parts.items()},
        }
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(status, f"{json.dumps(report, indent=2)}\n".encode())


@asynccontextmanager
async def serving_metrics(
    settings: Settings, program: Program, certificates: Certificates | None, probes: Probes
) -> AsyncIterator[None]:
    """Serve metrics and probes until the context ends, unless they are off.

    Args:
        settings: the settings of the process.
        program: what it runs.
        certificates: the certificates for HTTPS; None where TLS is off.
        probes: what the probes ask.

    Raises:
        StartError: the port is taken.
    """
    port = metrics_port(settings, program)
    if not port:
        yield
        return
    https = None if certificates is None else certificates.http_context()
    shared = settings.share_ports
    listener = Listener(settings.bind, port, https, shared=shared, setting="FANFARE_METRICS_PORT")
    server = MetricsServer(listener, probes)
    try:
        await server.start()
        yield
    finally:
        await server.close()


async def _metrics() -> Answer:
    """Return all metrics as text, which takes less time than OpenMetrics.

    Together they take 5 ms of the CPU or more. Other calls go on between one metric and the next.
    """
    parts = []
    for metric in REGISTRY.collect():
        parts.append(generate_latest(_One(metric)))
        await asyncio.sleep(0)
    return Answer(HTTPStatus.OK, b"".join(parts), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class _One(Collector):
    """A single metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]


def _text(status: HTTPStatus, line: str) -> Answer:
    return Answer(status, f"{line}\n".encode(), content_type=_TEXT)
