"""The bodies of HTTP requests, and what becomes of those that nobody has read."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web

from core.errors import BodyTooLargeError, MalformedRequestError, UnsupportedMediaTypeError
from gateway.answers import JSON, Answer
from gateway.requests import excerpt

BODY_SECONDS = 30.0
# When a call is answered before its body has arrived, up to this size the rest is read, so that the
# connection can be used again. Reading more would cost more than the answer. So the connection is
# closed instead, after the client has had some time to read the answer.
MAX_SKIPPED_BYTES = 64 * 1024
UNREAD_BODY_SECONDS = 1.0
# Such an answer comes this much later, so that a client that sends one large body after another
# costs the process at most 10 refusals a second for each of its connections.
LARGE_BODY_DELAY_SECONDS = 0.1


async def read_body(request: web.BaseRequest, limit: int, *, takes_json: bool) -> bytes:
    """Return the body of a request; b"" if there is none.

    Args:
        request: the request.
        limit: how many bytes the body may have.
        takes_json: whether the body must be JSON.

    Raises:
        BodyTooLargeError: the body is longer than the limit.
        UnsupportedMediaTypeError: the body is not JSON, or is encoded.
        MalformedRequestError: the body was broken, or did not arrive in time.
    """
    if not request.can_read_body:
        return b""
    _check_length(request, limit)
    # Not aiohttp's content_type, which takes a second to parse some headers and fails on others.
    given = request.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
    kind = given.partition(";")[0].strip().lower()
    if takes_json and kind != JSON:
        raise UnsupportedMediaTypeError(f"the body is {excerpt(kind)}: send application/json")
    if coding := request.headers.get(hdrs.CONTENT_ENCODING):
        raise UnsupportedMediaTypeError(f"the body is encoded as {excerpt(coding)}: send it plain")
    return await _receive(request, limit)


async def read_plain_body(request: web.BaseRequest, limit: int) -> bytes:
    """Return the body of a request, whatever its type; b"" if there is none.

    Args:
        request: the request.
        limit: how many bytes the body may have.

    Raises:
        BodyTooLargeError: the body is longer than the limit.
        MalformedRequestError: the body was broken, or did not arrive in time.
    """
    if not request.can_read_body:
        return b""
    _check_length(request, limit)
    return await _receive(request, limit)


def _check_length(request: web.BaseRequest, limit: int) -> None:
    if (request.content_length or 0) > limit:
        raise BodyTooLargeError(limit)


async def _receive(request: web.BaseRequest, limit: int) -> bytes:
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


def has_large_rest(request: web.BaseRequest) -> bool:
    """Return whether a large body, or one of unknown length, has not been read to its end."""
    if request.content.is_eof():
        return False
    length = request.content_length
    return length is None or length > MAX_SKIPPED_BYTES


async def answer_and_close(request: web.BaseRequest, answer: Answer) -> None:
    """Send an answer a little later, and then close the connection without reading from it."""
    await asyncio.sleep(LARGE_BODY_DELAY_SECONDS)
    answer.keep_alive = False
    await answer.prepare(request)
    await answer.write_eof()
    # Closing a socket with unread data discards what the client has not read yet.
    await asyncio.sleep(UNREAD_BODY_SECONDS)
    request.protocol.force_close()
