"""What Connect and gRPC-Web have in common: a protocol carries the calls of one method."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from core.errors import FanfareError, MalformedRequestError, UnsupportedEncodingError
from gateway.answers import Answer
from gateway.bodies import read_plain_body
from gateway.codecs import Codec
from gateway.failures import HTTP_STATUSES
from gateway.requests import excerpt

_IDENTITY = "identity"


class RpcProtocol(ABC):
    """Reads the requests of a method from HTTP, and makes HTTP responses of its answers."""

    timeout_header: str
    encoding_header: str
    """Says how a request is compressed."""
    accept_header: str
    """Says in which ways a request may be compressed."""

    def __init__(self, content_type: str, codec: Codec, limit: int) -> None:
        """Prepare for a method.

        Args:
            content_type: of requests and responses.
            codec: reads and prints their messages.
            limit: how many bytes the body of a request may have.
        """
        self.content_type = content_type
        self.codec = codec
        self._limit = limit

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request whose message cannot be read, by its headers.

        Raises:
            UnsupportedEncodingError: the message is compressed.
            MalformedRequestError: the request is of another version of the protocol.
        """
        check_encoding(headers.get(self.encoding_header, ""))

    @abstractmethod
    def timeout(self, headers: Mapping[str, str]) -> float | None:
        """Return how many seconds the client waits for the answer; None if it does not say.

        Raises:
            MalformedRequestError: the header cannot be read.
        """

    async def receive(self, request: web.BaseRequest) -> bytes:
        """Return the message of a request.

        Raises:
            BodyTooLargeError: it is larger than any that the method takes.
            MalformedRequestError: it is broken, or did not arrive in time.
            UnsupportedEncodingError: the request has no message, or several.
        """
        return self.message(await read_plain_body(request, self._limit))

    @abstractmethod
    def message(self, body: bytes) -> bytes:
        """Return the message in the body of a request; see receive()."""

    @abstractmethod
    def refusal(self, error: FanfareError) -> Answer:
        """Return the HTTP response for a failed call."""

    def hints(self, error: FanfareError) -> dict[str, str]:
        """Return the headers that say what the client can do about an error."""
        is_encoded = isinstance(error, UnsupportedEncodingError)
        return {self.accept_header: _IDENTITY} if is_encoded else {}


class UnaryProtocol(RpcProtocol):
    """A protocol that can carry calls that are answered with one message."""

    @abstractmethod
    def answer(self, message: bytes) -> Answer:
        """Return the HTTP response with a message, which the codec has printed."""


class StreamProtocol(RpcProtocol):
    """A protocol that can carry calls that are answered with a stream.

    Such a response is 200, and its last part says how the call ended. A call that fails at once has
    no other part.
    """

    def begin(self) -> bytes:
        """Return b"": the first message begins the response."""
        return b""

    @abstractmethod
    def event(self, message: bytes) -> bytes:
        """Return the part of the response with a message, which is given serialised."""

    @abstractmethod
    def end(self, error: FanfareError | None) -> bytes:
        """Return the last part of the response.

        Args:
            error: what the caller gets instead of more messages; None if the call succeeded.
        """

    def refusal(self, error: FanfareError) -> Answer:
        """Return the HTTP response for a call that failed before its stream began."""
        answer = Answer(
            HTTPStatus.OK, self.end(error), self.hints(error), content_type=self.content_type
        )
        answer.outcome = HTTP_STATUSES[error.code]
        return answer


def check_encoding(encoding: str) -> None:
    """Raise UnsupportedEncodingError if a message is compressed."""
    if encoding not in {"", _IDENTITY}:
        raise UnsupportedEncodingError(
            f"the message is encoded as {excerpt(encoding)}: send it plain, which is identity"
        )


def read_timeout(text: str, pattern: re.Pattern[str], form: str) -> re.Match[str]:
    """Return the match of a header with a timeout.

    Args:
        text: the header.
        pattern: what it must match.
        form: the same in words.

    Raises:
        MalformedRequestError: it does not match.
    """
    match = pattern.fullmatch(text)
    if match is None:
        raise MalformedRequestError(f"the timeout {excerpt(text)} cannot be read: send {form}")
    return match
