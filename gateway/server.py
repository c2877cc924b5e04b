"""The HTTP server in front of one gRPC service."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from itertools import chain
from typing import cast

import grpc.aio
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from core.auth.access_tokens import MAX_TOKEN_BYTES
from core.auth.addresses import FORWARDED_KEY, Network, client_address
from core.auth.authorizer import METADATA_KEY
from core.errors import (
    BodyTooLargeError,
    FanfareError,
    InternalError,
    MalformedRequestError,
    MethodNotFoundError,
    PathNotFoundError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)
from core.runtime.process import StartError
from gateway.answers import answer
from gateway.cors import Cors
from gateway.failures import failure, refusal
from gateway.listener import Listener
from gateway.messages import guarded
from gateway.requests import RequestReader, excerpt
from gateway.routes import NO_CONTENT, Route, routes
from gateway.service import Service

LOG = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
# During a drain an idle connection stays open this long for its next request, whose answer tells
# the client to connect again. A request that crosses with the end of its connection would fail.
LINGER_SECONDS = 2.0
LINGER_POLL_SECONDS = 0.02
BODY_SECONDS = 30.0
# grpc's default limit for a message, which JSON of this size does not exceed, as lists are short.
MAX_BODY_BYTES = 4 * 1024 * 1024
# Between requests, and until the first one is whole; longer than proxies in front keep theirs.
IDLE_SECONDS = 75.0
# Room for 1,000 ids of 19 digits in a query.
MAX_URL_BYTES = 64 * 1024
# Larger bodies are parsed in a thread: one of 4 MiB takes seconds if made of tiny objects.
INLINE_BODY_BYTES = 64 * 1024
# A token and its scheme; more of such headers than gRPC takes would be its error, not the caller's.
MAX_AUTHORIZATION_BYTES = MAX_TOKEN_BYTES + 16
TOKEN_FIELD = "consistency_token"  # noqa: S105 -- a field's name
TOKEN_HEADER = "Fanfare-Consistency-Token"  # noqa: S105 -- a header's name


class Server:
    """Serves the routes of one process's services, and /health."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a plain fact about the server
        self,
        bind: str,
        port: int,
        service: Service,
        cors: Cors,
        trusted: Sequence[Network],
        tls: ssl.SSLContext | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """Prepare a server at the port; tls: for HTTPS, None for HTTP.

        trusted: the proxies that are believed about the addresses they call for. shared: other
        processes may listen there too.
        """
        self._bind = bind
        self.port = port
        self._service = service
        self._cors = cors
        self._tls = tls
        self._shared = shared
        self._draining = False
        self._listener: Listener | None = None
        application = web.Application(
            middlewares=[self._answer_always], client_max_size=MAX_BODY_BYTES
        )
        application.router.add_get("/health", self._health)
        for route in chain.from_iterable(map(routes, service.descriptors)):
            handler = _handler(route, service, trusted)
            application.router.add_route(route.verb, route.path, handler)
            if route.verb == hdrs.METH_GET:
                application.router.add_route(hdrs.METH_HEAD, route.path, handler)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=DRAIN_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=MAX_URL_BYTES,
            auto_decompress=False,
        )

    async def start(self) -> None:
        """Listen. Raises StartError if the port is taken."""
        await self._runner.setup()
        server = cast("web.Server", self._runner.server)
        server.request_factory = guarded(server.request_factory)
        self._listener = Listener(server, self._tls)
        try:
            self.port = self._listener.start(self._bind, self.port, shared=self._shared)
        except OSError as error:
            raise StartError(
                f"cannot listen on {self._bind}:{self.port}: another process has the port, or the "
                "address is not this machine's; stop the other, or set another port by "
                "FANFARE_REST_WRITE_PORT or FANFARE_REST_READ_PORT."
            ) from error
        names = ", ".join(descriptor.full_name for descriptor in self._service.descriptors)
        LOG.info("serving %s on port %d", names, self.port)

    async def drain(self) -> None:
        """Free the port, and close each connection after its next answer.

        Health reports NOT_SERVING. Requests under way finish, within DRAIN_SECONDS.
        """
        self._draining = True
        if self._listener is not None:
            self._listener.close()
            until = time.monotonic() + LINGER_SECONDS
            # At least once, so that connections accepted just now are known to the server.
            await asyncio.sleep(LINGER_POLL_SECONDS)
            while self._listener.count and time.monotonic() < until:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(LINGER_POLL_SECONDS)
            self._listener.abort()
        await self._runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        # Asked in this order, so that a drain that begins meanwhile is told.
        is_serving, authentication = await self._service.health()
        is_serving = is_serving and not self._draining
        # Named as in grpc.health.v1; and whether callers are asked who they are.
        status = {
            "status": "SERVING" if is_serving else "NOT_SERVING",
            "authentication": authentication,
        }
        return web.json_response(status, status=200 if is_serving else 503)

    @web.middleware
    async def _answer_always(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._answer(request, handler)
        if self._draining:
            response.force_close()
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        try:
            response = await handler(request)
        except web.HTTPMethodNotAllowed as error:
            if request.method == hdrs.METH_OPTIONS and (
                permit := self._cors.preflight(origin, error.allowed_methods)
            ):
                return web.Response(status=NO_CONTENT, headers=permit)
            response = _refuse_method(request, error)
        except web.HTTPNotFound:
            response = refusal(PathNotFoundError(f"there is no path {excerpt(request.path)}"))
        except web.HTTPRequestEntityTooLarge:
            response = refusal(BodyTooLargeError(MAX_BODY_BYTES))
        except FanfareError as error:
            response = refusal(error)
        except grpc.aio.AioRpcError as error:
            response = failure(error)
        except Exception:
            LOG.exception("%s %s failed", request.method, excerpt(request.path))
            response = refusal(InternalError())
        response.headers.update(self._cors.headers(origin))
        return response


def _refuse_method(request: web.Request, error: web.HTTPMethodNotAllowed) -> web.Response:
    allowed = ", ".join(sorted(error.allowed_methods))
    response = refusal(
        MethodNotFoundError(f"{excerpt(request.path)} takes {allowed}, not {request.method}")
    )
    response.headers[hdrs.ALLOW] = allowed
    return response


def _handler(route: Route, service: Service, trusted: Sequence[Network]) -> Handler:
    reader = RequestReader(route)
    call = service.call(route.method)
    success = route.success
    has_token = TOKEN_FIELD in route.method.output_type.fields_by_name

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await _body(request, takes_json=route.has_body)
        parts = (request.match_info, request.query.items(), body)
        if len(body) > INLINE_BODY_BYTES:
            message = await asyncio.to_thread(reader.read, *parts)
        else:
            message = reader.read(*parts)
        response = await call(message, _metadata(request, trusted))
        headers = {}
        if has_token and (token := getattr(response, TOKEN_FIELD)):
            headers[TOKEN_HEADER] = token
        if success == NO_CONTENT:
            return web.Response(status=success, headers=headers)
        return answer(response, success, headers)

    return handle


def _metadata(request: web.Request, trusted: Sequence[Network]) -> list[tuple[str, str]]:
    """Return what the service is told of who calls: the token, and the address it came from."""
    forwarded = ",".join(request.headers.getall(FORWARDED_KEY, []))
    metadata = [(FORWARDED_KEY, client_address(request.remote or "", forwarded, trusted))]
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if sum(map(len, given)) > MAX_AUTHORIZATION_BYTES:
        raise UnauthenticatedError
    for text in given:
        # gRPC takes printable ASCII, and fails with an error of its own for anything else.
        if not (text.isascii() and text.isprintable()):
            raise UnauthenticatedError
        metadata.append((METADATA_KEY, text))
    return metadata


async def _body(request: web.Request, *, takes_json: bool) -> bytes:
    if not request.can_read_body:
        return b""
    # Not by aiohttp's content_type, which takes a second for some headers and fails at others.
    given = request.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
    kind = given.partition(";")[0].strip().lower()
    if takes_json and kind != "application/json":
        raise UnsupportedMediaTypeError(f"the body is {excerpt(kind)}: send application/json")
    if coding := request.headers.get(hdrs.CONTENT_ENCODING):
        raise UnsupportedMediaTypeError(f"the body is encoded as {excerpt(coding)}: send it plain")
    # aiohttp would wait forever, also after a chunk that is broken.
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except (TimeoutError, web.RequestPayloadError):
        raise MalformedRequestError(
            f"the body was broken, or not here in {BODY_SECONDS:g} seconds: send it again"
        ) from None
