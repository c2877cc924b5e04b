"""The HTTP server that a service runs beside its gRPC server."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import cast

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from google.protobuf.message import Message

from core.errors import (
    BodyTooLargeError,
    DeadlineExceededError,
    FanfareError,
    InternalError,
    MalformedRequestError,
    MethodNotFoundError,
    PathNotFoundError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)
from core.rpc.handlers import Handlers
from core.rpc.request_sizes import max_json_bytes
from gateway.answers import answer
from gateway.call_context import HttpContext
from gateway.cors import Cors
from gateway.failures import error_response
from gateway.listener import Listener
from gateway.messages import guarded
from gateway.requests import RequestReader, excerpt
from gateway.response_headers import fixed_headers
from gateway.routes import NO_CONTENT, Route, routes

LOG = logging.getLogger(__name__)

CALL_SECONDS = 10.0
DRAIN_SECONDS = 10.0
# During a drain, an idle connection stays open this long. If a request arrives in that time, its
# answer tells the client to connect again. On a connection closed at once, the request would fail.
LINGER_SECONDS = 2.0
LINGER_POLL_SECONDS = 0.02
BODY_SECONDS = 30.0
# How long a connection may be without a complete request. This is longer than the idle timeout of
# proxies in front: a request that a proxy sends just as this side closes the connection would fail.
IDLE_SECONDS = 75.0
# A body that a method has no use for is refused with the reason, and up to this size it is read.
USELESS_BODY_BYTES = 1024
# When a call is answered before its body has arrived, up to this size the rest is read, so that the
# connection can be used again. Reading more would cost more than the answer. So the connection is
# closed instead, after the client has had some time to read the answer.
MAX_SKIPPED_BYTES = 64 * 1024
UNREAD_BODY_SECONDS = 1.0
# Room for 1,000 ids of 19 digits in a query.
MAX_URL_BYTES = 64 * 1024
# Larger bodies are parsed in a thread, because parsing them would block the event loop for long.
INLINE_BODY_BYTES = 64 * 1024
TOKEN_FIELD = "consistency_token"  # noqa: S105 -- a field's name
TOKEN_HEADER = "Fanfare-Consistency-Token"  # noqa: S105 -- a header's name


class RestServer:
    """Serves the routes of a process's methods, and /health."""

    def __init__(
        self,
        listener: Listener,
        handlers: Handlers,
        is_serving: Callable[[], bool],
        cors: Cors,
    ) -> None:
        """Prepare a server.

        Args:
            listener: where to listen.
            handlers: the methods to serve.
            is_serving: returns the health of the process, for /health.
            cors: the origins whose pages may call.
        """
        self._listener = listener
        self._handlers = handlers
        self._is_serving = is_serving
        self._cors = cors
        self._is_draining = False
        # A single thread, so that no more than one body competes for the interpreter with the event
        # loop, which also serves gRPC.
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="rest-parsing")
        self._headers = fixed_headers(is_https=listener.is_https)
        application = web.Application(middlewares=[self._answer_always])
        application.router.add_get("/health", self._health)
        for route in chain.from_iterable(map(routes, handlers.services)):
            endpoint = self._endpoint(route)
            application.router.add_route(route.verb, route.path, endpoint)
            if route.verb == hdrs.METH_GET:
                application.router.add_route(hdrs.METH_HEAD, route.path, endpoint)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=DRAIN_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=MAX_URL_BYTES,
            auto_decompress=False,
        )

    @property
    def port(self) -> int:
        """The port that the server listens on, after start()."""
        return self._listener.port

    async def start(self) -> None:
        """Listen.

        Raises:
            StartError: the port is taken, or the address is not this machine's.
        """
        await self._runner.setup()
        server = cast("web.Server", self._runner.server)
        server.request_factory = guarded(server.request_factory)
        self._listener.start(server)
        LOG.info("serving REST port=%d", self.port)

    async def drain(self) -> None:
        """Free the port, and close each connection after its next answer.

        /health answers NOT_SERVING. Requests under way have DRAIN_SECONDS to finish. Does nothing
        if the server was not started.
        """
        self._is_draining = True
        self._listener.close()
        until = time.monotonic() + LINGER_SECONDS
        # Sleep at least once, so that the HTTP server learns of connections just accepted.
        await asyncio.sleep(LINGER_POLL_SECONDS)
        while self._listener.count and time.monotonic() < until:  # noqa: ASYNC110 - a count
            await asyncio.sleep(LINGER_POLL_SECONDS)
        self._listener.abort()
        await self._runner.cleanup()
        self._parsing.shutdown(wait=False, cancel_futures=True)

    async def _health(self, _request: web.Request) -> web.Response:
        is_serving = self._is_serving() and not self._is_draining
        # The names of the status are those of grpc.health.v1.
        status = {
            "status": "SERVING" if is_serving else "NOT_SERVING",
            "authentication": "on" if self._handlers.requires_authentication else "off",
        }
        text = json.dumps(status) + "\n"  # as in answers.answer()
        return web.json_response(text=text, status=200 if is_serving else 503)

    @web.middleware
    async def _answer_always(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._answer(request, handler)
        response.headers.update(self._headers)
        if self._is_draining:
            response.force_close()
        if _has_large_rest(request):
            await _answer_and_close(request, response)
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
            response = error_response(
                PathNotFoundError(f"there is no path {excerpt(request.path)}")
            )
        except FanfareError as error:
            response = error_response(error)
        except Exception:
            LOG.exception("request failed verb=%s path=%s", request.method, excerpt(request.path))
            response = error_response(InternalError())
        response.headers.update(self._cors.headers(origin))
        return response

    def _endpoint(self, route: Route) -> Handler:
        """Return the function that answers the requests of a route."""
        reader = RequestReader(route)
        handler = self._handlers.of(route.method)
        calls = self._handlers.calls
        success = route.success
        has_token = TOKEN_FIELD in route.method.output_type.fields_by_name
        limit = max_json_bytes(route.method.input_type) if route.has_body else USELESS_BODY_BYTES

        async def respond(request: web.Request) -> web.StreamResponse:
            context = HttpContext(request)
            call = await handler.count(context)
            if not context.is_authorization_usable:
                raise UnauthenticatedError
            body = await _read_body(request, limit, takes_json=route.has_body)
            message = await self._parse(reader, request, body)
            with calls.entered_rest():
                try:
                    async with asyncio.timeout(CALL_SECONDS):
                        response = await handler.answer_message(message, context, call)
                except TimeoutError:
                    raise DeadlineExceededError from None
            headers = {}
            if has_token and (token := getattr(response, TOKEN_FIELD)):
                headers[TOKEN_HEADER] = token
            if success == NO_CONTENT:
                return web.Response(status=success, headers=headers)
            return answer(response, success, headers)

        return respond

    async def _parse(self, reader: RequestReader, request: web.Request, body: bytes) -> Message:
        parse = partial(reader.read, request.match_info, request.query.items(), body)
        if len(body) <= INLINE_BODY_BYTES:
            return parse()
        return await asyncio.get_running_loop().run_in_executor(self._parsing, parse)


def _refuse_method(request: web.Request, error: web.HTTPMethodNotAllowed) -> web.Response:
    allowed = ", ".join(sorted(error.allowed_methods))
    response = error_response(
        MethodNotFoundError(f"{excerpt(request.path)} takes {allowed}, not {request.method}")
    )
    response.headers[hdrs.ALLOW] = allowed
    return response


def _has_large_rest(request: web.Request) -> bool:
    """Return whether a large body, or one of unknown length, has not been read to its end."""
    length = request.content_length
    return not request.content.is_eof() and (length is None or length > MAX_SKIPPED_BYTES)


async def _answer_and_close(request: web.Request, response: web.StreamResponse) -> None:
    """Send an answer, and close the connection a little later without reading from it."""
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    # Closing a socket with unread data discards what the client has not read yet.
    await asyncio.sleep(UNREAD_BODY_SECONDS)
    request.protocol.force_close()


async def _read_body(request: web.Request, limit: int, *, takes_json: bool) -> bytes:
    if not request.can_read_body:
        return b""
    if (request.content_length or 0) > limit:
        raise BodyTooLargeError(limit)
    # Not aiohttp's content_type, which takes a second to parse some headers and fails on others.
    given = request.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
    kind = given.partition(";")[0].strip().lower()
    if takes_json and kind != "application/json":
        raise UnsupportedMediaTypeError(f"the body is {excerpt(kind)}: send application/json")
    if coding := request.headers.get(hdrs.CONTENT_ENCODING):
        raise UnsupportedMediaTypeError(f"the body is encoded as {excerpt(coding)}: send it plain")
    # Without a timeout, aiohttp would wait for ever, even after a malformed chunk.
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = bytearray()
            async for part in request.content.iter_any():
                body += part
                if len(body) > limit:
                    raise BodyTooLargeError(limit)
            return bytes(body)
    except (TimeoutError, web.RequestPayloadError):
        raise MalformedRequestError(
            f"the body was broken, or not here in {BODY_SECONDS:g} seconds: send it again"
        ) from None
