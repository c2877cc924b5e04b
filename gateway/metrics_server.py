"""The HTTP server for metrics and probes, which each process runs on a port of its own.

The event loop of the process answers, so that a loop that is stuck answers nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import cast

from aiohttp import hdrs, web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from core.rpc.tls import Certificates
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


class MetricsServer:
    """Serves /metrics for Prometheus, and /livez and /readyz for whoever supervises the process."""

    def __init__(self, listener: Listener, is_ready: Callable[[], bool]) -> None:
        """Prepare a server.

        Args:
            listener: where to listen.
            is_ready: returns whether callers should be sent to this process.
        """
        self._listener = listener
        self._is_ready = is_ready
        self._fixed_lines = fixed_lines(is_https=listener.is_https)
        self._answers: dict[str, Callable[[web.BaseRequest], Answer]] = {
            "/metrics": _metrics,
            "/livez": _live,
            "/readyz": self._ready,
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
        find = self._answers.get(request.path)
        if find is None:
            paths = ", ".join(self._answers)
            answer = _text(HTTPStatus.NOT_FOUND, f"no such path; this port has {paths}")
        elif request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
            answer = _text(HTTPStatus.METHOD_NOT_ALLOWED, "this port takes only GET and HEAD")
            answer.headers[hdrs.ALLOW] = "GET, HEAD"
        else:
            answer = find(request)
        answer.fixed_lines = self._fixed_lines
        return answer

    def _ready(self, _request: web.BaseRequest) -> Answer:
        if self._is_ready():
            return _text(HTTPStatus.OK, "ready")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")


@asynccontextmanager
async def serving_metrics(
    settings: Settings, port: int, certificates: Certificates | None, is_ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve metrics and probes until the context ends.

    Args:
        settings: the settings of the process.
        port: its port for metrics.
        certificates: the certificates for HTTPS; None where TLS is off.
        is_ready: returns whether callers should be sent to this process.

    Raises:
        StartError: the port is taken.
    """
    https = None if certificates is None else certificates.http_context()
    shared = settings.share_ports
    listener = Listener(settings.bind, port, https, shared=shared, setting="FANFARE_METRICS_PORT")
    server = MetricsServer(listener, is_ready)
    try:
        await server.start()
        yield
    finally:
        await server.close()


def _live(_request: web.BaseRequest) -> Answer:
    return _text(HTTPStatus.OK, "live")


def _metrics(request: web.BaseRequest) -> Answer:
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    return Answer(HTTPStatus.OK, encode(REGISTRY), content_type=content_type)


def _text(status: HTTPStatus, line: str) -> Answer:
    return Answer(status, f"{line}\n".encode(), content_type=_TEXT)
