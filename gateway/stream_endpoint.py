"""Answers the HTTP requests of a route with streams, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from time import perf_counter

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from core.errors import FanfareError, InternalError, UnauthenticatedError
from core.rpc.observed_calls import CallObserver
from core.rpc.stream_handler import StreamHandler
from core.runtime.call_metrics import CallMetrics, SentMessages
from core.runtime.tracing import TRACEPARENT
from core.watch_errors import WatchEndedError
from gateway.answers import Answer, StreamedAnswer
from gateway.bodies import read_body
from gateway.call_context import HttpContext
from gateway.cors import Cors
from gateway.deadlines import Deadlines
from gateway.endpoint import USELESS_BODY_BYTES, end_after, rest_kind
from gateway.failures import http_status_of
from gateway.listener import Listener
from gateway.requests import RequestReader
from gateway.routes import Route
from gateway.server_sent_events import (
    CONTENT_TYPE,
    LAST_EVENT_ID,
    TOKEN_FIELD,
    EventPrinter,
    error_event,
    retry,
    usual_retry,
)

LOG = logging.getLogger(__name__)


class StreamEndpoint:
    """Answers the requests of one route."""

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        route: Route,
        handler: StreamHandler,
        deadlines: Deadlines,
        listener: Listener,
        cors: Cors,
        fixed_lines: str,
        metrics: CallMetrics,
        observer: CallObserver | None,
    ) -> None:
        """Prepare to answer requests.

        Args:
            route: the route.
            handler: answers the calls of the route's method.
            deadlines: cancels calls whose first event takes too long.
            listener: the port, which does not count connections that carry a stream.
            cors: the origins whose pages may call.
            fixed_lines: the lines of the headers that all answers of the port have.
            metrics: the metrics of the route.
            observer: observes the calls; None if none is to be observed.
        """
        self._reader = RequestReader(route)
        self._handler = handler
        self._listener = listener
        self._cors = cors
        self._deadlines = deadlines
        self._metrics = metrics
        self._observer = observer
        self._fixed_lines = fixed_lines
        self._events = EventPrinter(route.method.output_type)
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
        answering = self._answer(request, path, context, perf_counter())
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
        began: float,
    ) -> Answer:
        call = await self._handler.count(context)
        if not context.is_authorization_usable:
            raise UnauthenticatedError
        body = await read_body(request, USELESS_BODY_BYTES, takes_json=False)
        message = self._reader.read(path, _query(request), body)
        async with aclosing(self._handler.stream(message, context, call)) as events:
            first = await self._deadlines.run(_next(events))
            sent = SentMessages(self._metrics, began)
            answer = StreamedAnswer(request, self._fixed_lines, CONTENT_TYPE)
            answer.headers |= {"X-Accel-Buffering": "no"}
            answer.headers |= self._cors.headers(request.headers.get(hdrs.ORIGIN))
            with self._listener.carrying_stream():
                try:
                    await self._send(request, answer, first, events, sent)
                except ConnectionError:
                    # The client has left. No answer can follow what has been sent already.
                    raise asyncio.CancelledError from None
        return answer

    async def _send(
        self,
        request: web.BaseRequest,
        answer: StreamedAnswer,
        event: bytes | None,
        events: AsyncGenerator[bytes, None],
        sent: SentMessages,
    ) -> None:
        """Send the head, and each event as soon as the client has room for it."""
        writer = request.writer
        await writer.write(answer.head(request.version))
        if request.method == hdrs.METH_HEAD:
            return
        if request.version == HttpVersion11:
            writer.enable_chunking()
        await writer.write(usual_retry())
        end = b""
        try:
            while event is not None:
                await writer.write(self._events.print(event))
                # write() itself waits only once for every 64 KiB.
                await writer.drain()
                sent.add()
                event = await anext(events, None)
        except WatchEndedError as error:
            answer.failure = error
            end = retry(int(error.retry_after * 1000))
        except FanfareError as error:
            answer.failure = error
            answer.status = http_status_of(error)
            end = error_event(error)
        except ConnectionError:
            raise
        except Exception:
            LOG.exception("stream failed route=%s", self._kind.name)
            answer.failure = InternalError()
            answer.status = HTTPStatus.INTERNAL_SERVER_ERROR
            end = error_event(answer.failure)
        await writer.write_eof(end)


async def _next(events: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(events, None)


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
