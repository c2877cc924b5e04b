"""HTTP responses, each sent in one piece, except for streams.

aiohttp's own responses take several times as long: each keeps its headers in a multidict, and works
out what most responses have in common (decision 0035).
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.http import SERVER_SOFTWARE, HttpVersion, HttpVersion10, HttpVersion11

from core.errors import FanfareError

JSON = "application/json"
_WITHOUT_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Answer:
    """An HTTP response.

    aiohttp's server uses three members of a response: prepare(), write_eof() and keep_alive.
    """

    __slots__ = (
        "_request",
        "body",
        "content_type",
        "fixed_lines",
        "headers",
        "keep_alive",
        "outcome",
        "status",
    )

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        content_type: str = JSON,
    ) -> None:
        """Make a response, which is sent later.

        Args:
            status: the HTTP status; HTTPStatus.NO_CONTENT goes without a body.
            body: the body.
            headers: further headers.
            content_type: the type of the body.
        """
        self.status = status
        self.outcome = status
        """The HTTP status that metrics count. gRPC-Web sends 200 for failed calls, too."""
        self.body = body
        self.headers = {} if headers is None else headers
        self.content_type = content_type
        self.fixed_lines = ""
        """The lines of the headers that all answers of a port have."""
        self.keep_alive = True
        """Whether the connection stays open after this answer."""
        self._request: web.BaseRequest | None = None

    failure: FanfareError | None = None
    """Why the answer ended early, if it is a stream."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Remember which request is answered; the connection closes if its client wants that."""
        self._request = request
        self.keep_alive = self.keep_alive and request.keep_alive

    async def write_eof(self) -> None:
        """Send the response, and wait while the client has too much left to read."""
        request, self._request = self._request, None
        if request is not None:
            head = self.head(request.version)
            has_body = request.method != hdrs.METH_HEAD
            await request.writer.write_eof(head + self.body if has_body else head)

    def head(self, version: HttpVersion) -> bytes:
        """Return the status line and the headers, for a client that speaks this version of HTTP.

        Raises:
            ValueError: a header holds a control character, which could begin another header.
        """
        status = self.status
        lines = self.fixed_lines
        if status not in _WITHOUT_BODY:
            length = len(self.body)
            lines += f"Content-Type: {self.content_type}\r\nContent-Length: {length}\r\n"
        if self.headers:
            lines += "".join(map(_line, self.headers.items()))
        if not self.keep_alive:
            if version == HttpVersion11:
                lines += "Connection: close\r\n"
        elif version == HttpVersion10:
            lines += "Connection: keep-alive\r\n"
        return _head(version, status, lines)


class StreamedAnswer(Answer):
    """The answer to a request for a stream, which its endpoint sends itself, piece by piece."""

    __slots__ = ("failure",)

    def __init__(self, request: web.BaseRequest, fixed_lines: str, content_type: str) -> None:
        """Prepare to answer with 200.

        Args:
            request: the request.
            fixed_lines: the lines of the headers that all answers of the port have.
            content_type: the type of the stream.
        """
        super().__init__(HTTPStatus.OK, content_type=content_type)
        self.fixed_lines = fixed_lines
        self.failure = None
        # A client of HTTP/1.0 knows the end of the stream by the end of the connection.
        self.keep_alive = request.keep_alive and request.version == HttpVersion11

    async def write_eof(self) -> None:
        """Do nothing: the stream has been sent."""

    def head(self, version: HttpVersion) -> bytes:
        """Return the status line and the headers; see Answer."""
        lines = f"{self.fixed_lines}Content-Type: {self.content_type}\r\n"
        if version == HttpVersion11:
            lines += "Transfer-Encoding: chunked\r\n"
        if not self.keep_alive:
            lines += "Connection: close\r\n"
        return _head(version, self.status, lines + "".join(map(_line, self.headers.items())))


def _head(version: HttpVersion, status: int, lines: str) -> bytes:
    start = f"HTTP/{version.major}.{version.minor} {status} {_REASONS.get(status, '')}\r\n"
    date = _date(int(time.time()))
    text = f"{start}{lines}Date: {date}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
    # An Origin may have bytes that are not UTF-8, which are left out.
    return text.encode(errors="ignore")


def _line(header: tuple[str, str]) -> str:
    name, value = header
    if _CONTROL_CHARACTER.search(value):
        raise ValueError(f"the header {name} has a control character: {value!r}")
    return f"{name}: {value}\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
