"""Sends a stream of messages as an HTTP response, piece by piece, in any format."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from core.errors import DeadlineExceededError, FanfareError, InternalError
from core.runtime.call_metrics import SentMessages
from core.watch_errors import WatchEndedError
from gateway.answers import Answer, StreamedAnswer
from gateway.call_metrics import CLIENT_GONE
from gateway.cors import Cors
from gateway.deadlines import Deadlines, in_time
from gateway.failures import http_status_of
from gateway.listener import Listener

LOG = logging.getLogger(__name__)


class StreamFormat(Protocol):
    """How the messages of a stream become the body of a response."""

    content_type: str

    def begin(self) -> bytes:
        """Return the first part of the body; b"" if there is none before the first message."""

    def event(self, message: bytes) -> bytes:
        """Return the part with a message, which is given serialised."""

    def end(self, error: FanfareError | None) -> bytes:
        """Return the last part.

        Args:
            error: why the stream ends; None if there are no more messages.
        """


@dataclass(frozen=True, slots=True)
class StreamCall:
    """A call that is answered with a stream."""

    request: web.BaseRequest
    route: str
    """The verb and the template of the path."""
    form: StreamFormat
    sent: SentMessages
    """Counts the messages."""
    late_at: float | None = None
    """When the client no longer waits, in the event loop's time; None if it did not say."""


class StreamSender:
    """Sends the streams of a port."""

    def __init__(
        self, listener: Listener, cors: Cors, fixed_lines: str, deadlines: Deadlines
    ) -> None:
        """Prepare to send.

        Args:
            listener: the port, which does not count connections that carry a stream.
            cors: the origins whose pages may call.
            fixed_lines: the lines of the headers that all answers of the port have.
            deadlines: cancels calls whose first event takes too long.
        """
        self._listener = listener
        self._cors = cors
        self._fixed_lines = fixed_lines
        self._deadlines = deadlines

    async def send(self, call: StreamCall, events: AsyncGenerator[bytes, None]) -> Answer:
        """Send a stream from its first event on, and return the answer that was sent.

        Args:
            call: the call.
            events: the serialised messages.

        Raises:
            FanfareError: the stream failed before its first event, and nothing was sent.
        """
        request, form = call.request, call.form
        first = await self._deadlines.run(in_time(call.late_at, _next(events)))
        answer = StreamedAnswer(request, self._fixed_lines, form.content_type)
        answer.headers |= {"X-Accel-Buffering": "no"}
        answer.headers |= self._cors.headers(request.headers.get(hdrs.ORIGIN))
        with self._listener.carrying_stream():
            try:
                writer = request.writer
                await writer.write(answer.head(request.version))
                if request.method == hdrs.METH_HEAD:
                    return answer
                if request.version == HttpVersion11:
                    writer.enable_chunking()
                if start := form.begin():
                    await writer.write(start)
                error = await _send_events(call, first, events)
                if error is not None:
                    answer.failure = error
                    answer.outcome = _outcome(error)
                await writer.write_eof(form.end(error))
            except ConnectionError:
                # The client has left. No answer can follow what has been sent already.
                raise asyncio.CancelledError from None
        return answer


def _outcome(error: FanfareError) -> int:
    """Return the HTTP status with which metrics count a stream that an error ended."""
    if isinstance(error, WatchEndedError):
        return HTTPStatus.OK
    # How long a stream lasts is up to its client. One that waits for its first event has failed.
    return CLIENT_GONE if isinstance(error, DeadlineExceededError) else http_status_of(error)


async def _send_events(
    call: StreamCall, event: bytes | None, events: AsyncGenerator[bytes, None]
) -> FanfareError | None:
    """Send each event as soon as the client has room for it; return why the stream ended.

    Raises:
        ConnectionError: the client has left.
    """
    writer = call.request.writer
    try:
        while event is not None:
            await writer.write(call.form.event(event))
            # write() itself waits only once for every 64 KiB.
            await writer.drain()
            call.sent.add()
            event = await in_time(call.late_at, _next(events))
    except FanfareError as error:
        return error
    except ConnectionError:
        raise
    except Exception:
        LOG.exception("stream failed route=%s", call.route)
        return InternalError()
    return None


async def _next(events: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(events, None)
