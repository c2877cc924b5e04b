"""The HTTP server that a service runs beside its gRPC server."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import cast

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from google.protobuf.message import Message

from core.errors import FanfareError, InternalError, MethodNotFoundError, PathNotFoundError
from core.rpc.handlers import Handlers
from core.rpc.stream_handler import StreamHandler
from core.runtime.call_metrics import CallMetrics
from gateway.answers import JSON, Answer
from gateway.bodies import answer_and_close, has_large_rest
from gateway.call_metrics import (
    CLIENT_GONE,
    HTTP_METRICS,
    metrics_of,
    of_requests_without_route,
)
from gateway.cors import Cors
from gateway.deadlines import Deadlines
from gateway.demo_page import DemoPage
from gateway.endpoint import MethodEndpoint, ObservedEndpoint
from gateway.failures import error_answer, text_answer
from gateway.listener import Listener
from gateway.messages import guarded
from gateway.requests import excerpt
from gateway.response_headers import fixed_lines
from gateway.router import NoSuchPathError, NoSuchVerbError, Router
from gateway.routes import Route, is_rpc_path, routes
from gateway.rpc_endpoint import Port
from gateway.rpc_routes import rpc_routes
from gateway.stream_endpoint import StreamEndpoint
from gateway.stream_sender import StreamSender

LOG = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
# During a drain, an idle connection stays open this long. If a request arrives in that time, its
# answer tells the client to connect again. On a connection closed at once, the request would fail.
LINGER_SECONDS = 2.0
LINGER_POLL_SECONDS = 0.02
# How long a connection may be without a complete request. This is longer than the idle timeout of
# proxies in front: a request that a proxy sends just as this side closes the connection would fail.
IDLE_SECONDS = 75.0
# Enough for 1,000 ids of 19 digits in a query.
MAX_URL_BYTES = 64 * 1024

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Endpoint = Callable[[web.BaseRequest, Mapping[str, str]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Route:
    """What answers the requests of a route, and what counts them."""

    endpoint: Endpoint
    metrics: CallMetrics


class RestServer:
    """Serves the methods of a process by REST and as RPCs, /health, and the demo page if any."""

    def __init__(
        self,
        listener: Listener,
        handlers: Handlers,
        is_serving: Callable[[], bool],
        cors: Cors,
        page: DemoPage | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            listener: where to listen.
            handlers: the methods to serve.
            is_serving: returns the health of the process, for /health.
            cors: the origins whose pages may call.
            page: a page to serve too, if any.
        """
        self._listener = listener
        self._handlers = handlers
        self._is_serving = is_serving
        self._cors = cors
        self._is_draining = False
        # A single thread, so that no more than one body competes for the interpreter with the event
        # loop, which also serves gRPC.
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="rest-parsing")
        self._fixed_lines = fixed_lines(is_https=listener.is_https)
        self._router: Router[_Route] = Router()
        self._without_route = of_requests_without_route()
        self._route("GET", "/health", self._health, HTTP_METRICS.of("GET", "/health"))
        deadlines = Deadlines()
        sender = StreamSender(listener, cors, self._fixed_lines, deadlines)
        port = Port(handlers.calls, deadlines, sender, self._run_in_thread, handlers.observer)
        for route in chain.from_iterable(map(routes, handlers.services)):
            rest = self._endpoint(route, port)
            self._route(route.verb, route.path, rest.answer, metrics_of(route))
        for route, rpc in rpc_routes(handlers, port):
            self._route(route.verb, route.path, rpc.answer, metrics_of(route))
        for path, answer in page.endpoints.items() if page else ():
            self._route("GET", path, answer, HTTP_METRICS.of("GET", "page"))
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
        server = web.Server(
            cast("Handler", self._respond),
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=MAX_URL_BYTES,
            auto_decompress=False,
        )
        server.request_factory = guarded(server.request_factory)
        self._runner = web.ServerRunner(server, shutdown_timeout=DRAIN_SECONDS)
        await self._runner.setup()
        self._listener.start(server)
        LOG.info("serving REST port=%d", self.port)

    async def drain(self) -> None:
        """Free the port, end streams, and close each connection after its next answer.

        /health answers NOT_SERVING. Requests under way have DRAIN_SECONDS to finish. Does nothing
        if the server was not started.
        """
        self._is_draining = True
        self._listener.close()
        # Streams would not end by themselves.
        self._handlers.streams.close()
        until = time.monotonic() + LINGER_SECONDS
        # Sleep at least once, so that the HTTP server learns of connections just accepted.
        await asyncio.sleep(LINGER_POLL_SECONDS)
        while self._listener.count and time.monotonic() < until:  # noqa: ASYNC110 - a count
            await asyncio.sleep(LINGER_POLL_SECONDS)
        self._listener.abort()
        if self._runner is not None:
            await self._runner.cleanup()
        self._parsing.shutdown(wait=False, cancel_futures=True)

    def _endpoint(self, route: Route, port: Port) -> MethodEndpoint | StreamEndpoint:
        handler, observer = self._handlers.of(route.method), port.observer
        if isinstance(handler, StreamHandler):
            return StreamEndpoint(route, handler, metrics_of(route), port.sender, observer)
        parts = (route, handler, port.calls, port.deadlines, port.run_in_thread)
        return ObservedEndpoint(*parts, observer) if observer else MethodEndpoint(*parts)

    def _route(self, verb: str, path: str, endpoint: Endpoint, metrics: CallMetrics) -> None:
        route = _Route(endpoint, metrics)
        self._router.add(verb, path, route)
        if verb == hdrs.METH_GET:
            self._router.add(hdrs.METH_HEAD, path, route)

    async def _health(self, _request: web.BaseRequest, _path: Mapping[str, str]) -> Answer:
        is_serving = self._is_serving() and not self._is_draining
        # The names of the status are those of grpc.health.v1.
        status = {
            "status": "SERVING" if is_serving else "NOT_SERVING",
            "authentication": "on" if self._handlers.requires_authentication else "off",
        }
        body = json.dumps(status) + "\n"  # as in transcode.json_body()
        kind = f"{JSON}; charset=utf-8"
        return Answer(200 if is_serving else 503, body.encode(), content_type=kind)

    async def _respond(self, request: web.BaseRequest) -> Answer:
        """Answer a request, whatever it is, and count it."""
        route, path = self._find(request)
        began = route.metrics.begin()
        status = CLIENT_GONE
        try:
            answer = await self._answer(request, route.endpoint, path)
            status = answer.outcome
        finally:
            route.metrics.end(began, status)
        answer.fixed_lines = answer.fixed_lines or self._fixed_lines
        if self._is_draining:
            answer.keep_alive = False
        if has_large_rest(request):
            await answer_and_close(request, answer)
        return answer

    def _find(self, request: web.BaseRequest) -> tuple[_Route, Mapping[str, str]]:
        """Return the route of a request, and the values of its path's variables.

        Where there is no route, its endpoint refuses the request or answers a preflight.
        """
        try:
            return self._router.find(request.method, request.rel_url.path_safe)
        except NoSuchVerbError as error:
            return _Route(partial(self._refuse_verb, error.allowed), self._without_route), {}
        except NoSuchPathError:
            return _Route(_refuse_path, self._without_route), {}

    async def _answer(
        self, request: web.BaseRequest, endpoint: Endpoint, path: Mapping[str, str]
    ) -> Answer:
        origin = request.headers.get(hdrs.ORIGIN)
        if hdrs.EXPECT in request.headers:
            await _expect_body(request)
        try:
            answer = await endpoint(request, path)
        except FanfareError as error:
            answer = error_answer(error)
        except Exception:
            LOG.exception("request failed verb=%s path=%s", request.method, excerpt(request.path))
            answer = error_answer(InternalError())
        answer.headers.update(self._cors.headers(origin))
        return answer

    async def _refuse_verb(
        self, verbs: Iterable[str], request: web.BaseRequest, _path: Mapping[str, str]
    ) -> Answer:
        """Answer a request for a path that has only other verbs."""
        origin = request.headers.get(hdrs.ORIGIN)
        if request.method == hdrs.METH_OPTIONS and (permit := self._cors.preflight(origin, verbs)):
            return Answer(HTTPStatus.NO_CONTENT, headers=permit)
        allowed = ", ".join(sorted(verbs))
        error = MethodNotFoundError(
            f"{excerpt(request.path)} takes {allowed}, not {request.method}"
        )
        answer = text_answer(error) if is_rpc_path(request.path) else error_answer(error)
        answer.headers[hdrs.ALLOW] = allowed
        return answer

    async def _run_in_thread(self, parse: Callable[[], Message]) -> Message:
        return await asyncio.get_running_loop().run_in_executor(self._parsing, parse)


async def _refuse_path(request: web.BaseRequest, _path: Mapping[str, str]) -> Answer:
    error = PathNotFoundError(f"there is no path {excerpt(request.path)}")
    if is_rpc_path(request.path):
        return text_answer(error)
    raise error


async def _expect_body(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send the body."""
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
