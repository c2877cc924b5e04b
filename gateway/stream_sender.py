"""Sends a stream of messages as an HTTP response, piece by piece, in any format."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Protocol

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from core.errors import FanfareError, InternalError
from core.watch_errors import WatchEndedError
from gateway.answers import Answer, StreamedAnswer
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

    async def send(
        self,
        request: web.BaseRequest,
        form: StreamFormat,
        events: AsyncGenerator[bytes, None],
        late_at: float | None = None,
    ) -> Answer:
        """Send a stream from its first event on, and return the answer that was sent.

        Args:
            request: the request.
            form: the format of the response.
            events: the serialised messages.
            late_at: when the client no longer waits, in the event loop's time; None if it did not
                say.

        Raises:
            FanfareError: the stream failed before its first event, and nothing was sent.
        """
        first = await self._deadlines.run(in_time(late_at, _next(events)))
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
                error = await _send_events(writer, form, first, events, late_at)
                if error is not None:
                    answer.failure = error
                    if not isinstance(error, WatchEndedError):
                        answer.outcome = http_status_of(error)
                await writer.write_eof(form.end(error))
            except ConnectionError:
                # The client has left. No answer can follow what has been sent already.
                raise asyncio.CancelledError from None
        return answer


async def _send_events(
    writer: AbstractStreamWriter,
    form: StreamFormat,
    event: bytes | None,
    events: AsyncGenerator[bytes, None],
    late_at: float | None,
) -> FanfareError | None:
    """Send each event as soon as the client has room for it; return why the stream ended.

    Raises:
        ConnectionError: the client has left.
    """
    try:
        while event is not None:
            await writer.write(form.event(event))
            # write() itself waits only once for every 64 KiB.
            await writer.drain()
            event = await in_time(late_at, _next(events))
    except FanfareError as error:
        return error
    except ConnectionError:
        raise
    except Exception:
        LOG.exception("stream failed type=%s", form.content_type)
        return InternalError()
    return None


async def _next(events: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(events, None)
