"""Answers the HTTP requests of one route by a call of its method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from google.protobuf.message import Message

from core.errors import FanfareError, UnauthenticatedError
from core.rpc.calls import Calls
from core.rpc.handlers import MethodHandler
from core.rpc.json_answer import JsonAnswer
from core.rpc.observed_calls import CallKind, CallObserver, ObservedCall
from core.rpc.request_sizes import max_json_bytes
from core.runtime.tracing import TRACEPARENT
from gateway.answers import Answer
from gateway.bodies import read_body
from gateway.call_context import HttpContext
from gateway.call_metrics import CLIENT_GONE
from gateway.deadlines import Deadlines
from gateway.failures import http_status_of
from gateway.requests import RequestReader
from gateway.routes import Route
from gateway.transcode import json_body

# A body that a method has no use for is refused with the reason, and up to this size it is read.
USELESS_BODY_BYTES = 1024
# Larger bodies are parsed in a thread, because parsing them would block the event loop for long.
INLINE_BODY_BYTES = 64 * 1024
TOKEN_FIELD = "consistency_token"  # noqa: S105 -- a field's name
TOKEN_HEADER = "Fanfare-Consistency-Token"  # noqa: S105 -- a header's name

RunInThread = Callable[[Callable[[], Message]], Awaitable[Message]]


class MethodEndpoint:
    """Answers the requests of one route."""

    def __init__(
        self,
        route: Route,
        handler: MethodHandler,
        calls: Calls,
        deadlines: Deadlines,
        run_in_thread: RunInThread,
    ) -> None:
        """Prepare to answer requests.

        Args:
            route: the route.
            handler: answers the calls of the route's method.
            calls: counts them.
            deadlines: cancels those that take too long.
            run_in_thread: runs a function in a thread that parses bodies.
        """
        self._reader = RequestReader(route)
        self._handler = handler
        self._calls = calls
        self._deadlines = deadlines
        self._run_in_thread = run_in_thread
        self._status = route.success
        self._takes_json = route.has_body
        self._has_token = TOKEN_FIELD in route.method.output_type.fields_by_name
        size = max_json_bytes(route.method.input_type)
        self._limit = size if route.has_body else USELESS_BODY_BYTES

    def answer(
        self, request: web.BaseRequest, path: Mapping[str, str]
    ) -> Coroutine[Any, Any, Answer]:
        """Answer a request.

        Args:
            request: the request.
            path: the values of the path's variables.

        Raises:
            FanfareError: the call failed.
        """
        return self._answer(request, path, HttpContext(request))

    async def _answer(
        self, request: web.BaseRequest, path: Mapping[str, str], context: HttpContext
    ) -> Answer:
        call = await self._handler.count(context)
        if not context.is_authorization_usable:
            raise UnauthenticatedError
        body = await read_body(request, self._limit, takes_json=self._takes_json)
        message = await self._parse(path, request, body)
        with self._calls.entered_rest:
            answering = self._handler.answer_message(message, context, call)
            result = await self._deadlines.run(answering)
        if isinstance(result, JsonAnswer):
            return Answer(self._status, result.json() + b"\n")  # as in json_body()
        headers = {}
        if self._has_token and (token := getattr(result, TOKEN_FIELD)):
            headers[TOKEN_HEADER] = token
        has_body = self._status != HTTPStatus.NO_CONTENT
        return Answer(self._status, json_body(result) if has_body else b"", headers)

    async def _parse(
        self, path: Mapping[str, str], request: web.BaseRequest, body: bytes
    ) -> Message:
        def parse() -> Message:
            return self._reader.read(path, request.query.items(), body)

        return parse() if len(body) <= INLINE_BODY_BYTES else await self._run_in_thread(parse)


class ObservedEndpoint(MethodEndpoint):
    """Answers the requests of one route, and has each of them observed."""

    def __init__(  # noqa: PLR0913, PLR0917 - those of MethodEndpoint, and one more
        self,
        route: Route,
        handler: MethodHandler,
        calls: Calls,
        deadlines: Deadlines,
        run_in_thread: RunInThread,
        observer: CallObserver,
    ) -> None:
        """Prepare to answer requests; see MethodEndpoint."""
        super().__init__(route, handler, calls, deadlines, run_in_thread)
        self._observer = observer
        self._kind = rest_kind(route)

    # Not a coroutine itself, so that a call that is not observed has none more than without this.
    def _answer(
        self, request: web.BaseRequest, path: Mapping[str, str], context: HttpContext
    ) -> Coroutine[Any, Any, Answer]:
        traceparent = request.headers.get(TRACEPARENT)
        observed = self._observer.begin(self._kind, traceparent, context, request.content_length)
        answering = super()._answer(request, path, context)
        return answering if observed is None else end_after(answering, observed)


def rest_kind(route: Route) -> CallKind:
    """Return what is known about all calls of a route."""
    attributes = {"http.request.method": route.verb, "http.route": route.path}
    return CallKind("rest", f"{route.verb} {route.path}", attributes)


async def end_after(
    answering: Coroutine[Any, Any, Answer],
    observed: ObservedCall,
    status_of: Callable[[FanfareError], int] = http_status_of,
) -> Answer:
    """Return the answer, and record how the call ended, with the HTTP status of its error."""
    try:
        answer = await answering
    except FanfareError as error:
        observed.end(str(status_of(error)), error)
        raise
    except Exception as error:
        observed.end(str(int(HTTPStatus.INTERNAL_SERVER_ERROR)), error)
        raise
    except BaseException as error:
        observed.end(str(CLIENT_GONE), error)
        raise
    observed.end(str(int(answer.outcome)), answer.failure)
    return answer
