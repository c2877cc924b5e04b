"""Answers the HTTP requests of a route whose method answers with Server-Sent Events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from time import perf_counter

from aiohttp import web

from core.errors import UnauthenticatedError
from core.rpc.observed_calls import CallObserver
from core.rpc.stream_handler import StreamHandler
from core.runtime.call_metrics import CallMetrics, SentMessages
from core.runtime.tracing import TRACEPARENT
from gateway.answers import Answer
from gateway.bodies import read_body
from gateway.call_context import HttpContext
from gateway.endpoint import USELESS_BODY_BYTES, end_after, rest_kind
from gateway.requests import RequestReader
from gateway.routes import Route
from gateway.server_sent_events import LAST_EVENT_ID, TOKEN_FIELD, ServerSentEvents
from gateway.stream_sender import StreamCall, StreamSender


class StreamEndpoint:
    """Answers the requests of one route."""

    def __init__(
        self,
        route: Route,
        handler: StreamHandler,
        metrics: CallMetrics,
        sender: StreamSender,
        observer: CallObserver | None,
    ) -> None:
        """Prepare to answer requests.

        Args:
            route: the route.
            handler: answers the calls of the route's method.
            metrics: the metrics of the route.
            sender: sends the streams of the port.
            observer: observes the calls; None if none is to be observed.
        """
        self._reader = RequestReader(route)
        self._handler = handler
        self._metrics = metrics
        self._sender = sender
        self._observer = observer
        self._events = ServerSentEvents(route.method.output_type)
        self._kind = rest_kind(route)

    async def answer(self, request: web.BaseRequest, path: Mapping[str, str]) -> Answer:
        """Answer a request: with an error before the first event, else with the whole stream.

        Args:
            request: the request.
            path: the values of the path's variables.

        Raises:
            FanfareError: the call failed before the first event.
        """
        context = HttpContext(request)
        sent = SentMessages(self._metrics, perf_counter())
        answering = self._answer(request, path, context, sent)
        if self._observer is not None:
            traceparent = request.headers.get(TRACEPARENT)
            length = request.content_length
            observed = self._observer.begin(self._kind, traceparent, context, length)
            if observed is not None:
                answering = end_after(answering, observed)
        return await answering

    async def _answer(
        self,
        request: web.BaseRequest,
        path: Mapping[str, str],
        context: HttpContext,
        sent: SentMessages,
    ) -> Answer:
        call = await self._handler.count(context)
        if not context.is_authorization_usable:
            raise UnauthenticatedError
        body = await read_body(request, USELESS_BODY_BYTES, takes_json=False)
        message = self._reader.read(path, _query(request), body)
        streamed = StreamCall(request, self._kind.name, self._events, sent)
        async with aclosing(self._handler.stream(message, context, call)) as events:
            return await self._sender.send(streamed, events)


def _query(request: web.BaseRequest) -> Iterator[tuple[str, str]]:
    """Yield the parameters, with Last-Event-ID as the resume token.

    A browser that opens a stream again sends the header and repeats the query, whose resume token
    is then older.
    """
    token = request.headers.get(LAST_EVENT_ID)
    for name, value in request.query.items():
        if not (token and name == TOKEN_FIELD):
            yield name, value
    if token:
        yield TOKEN_FIELD, token
