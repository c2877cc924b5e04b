"""The Connect protocol, by which browsers and curl call RPCs without knowing REST paths.

A unary call is a POST with the message as its body, or a GET with the message in its query. An
error is JSON with the HTTP status of its code. A stream has envelopes in both directions.
https://connectrpc.com/docs/protocol
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import grpc
from aiohttp import web
from google.protobuf import json_format
from google.rpc.status_pb2 import Status

from core.errors import BodyTooLargeError, FanfareError, MalformedRequestError
from core.rpc.error_status import to_status
from gateway.answers import JSON, Answer
from gateway.codecs import Codec
from gateway.envelopes import ENVELOPE_BYTES, envelope, only_message
from gateway.failures import HTTP_STATUSES, error_headers
from gateway.requests import excerpt
from gateway.rpc_protocols import (
    RpcProtocol,
    StreamProtocol,
    UnaryProtocol,
    check_encoding,
    read_timeout,
)

CODES = {code.value[0]: code.name.lower() for code in grpc.StatusCode}
"""The names of the codes of errors."""
CODES[grpc.StatusCode.CANCELLED.value[0]] = "canceled"
_VERSION = "1"
_TIMEOUT = re.compile("[0-9]{1,10}")
_TIMEOUT_FORM = "milliseconds, in at most 10 digits"
_END_OF_STREAM = 2


class _Connect(RpcProtocol):
    """What calls have in common, whether they answer once or with a stream."""

    timeout_header = "connect-timeout-ms"

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request that is compressed, or of another version of the protocol."""
        _check_version(headers.get("connect-protocol-version", _VERSION), _VERSION)
        super().check(headers)

    def timeout(self, headers: Mapping[str, str]) -> float | None:
        """Return how many seconds the client waits for the answer; None if it does not say."""
        given = headers.get(self.timeout_header)
        if given is None:
            return None
        return int(read_timeout(given, _TIMEOUT, _TIMEOUT_FORM)[0]) / 1000


class ConnectUnary(_Connect, UnaryProtocol):
    """A POST whose body is the message, for one method."""

    encoding_header = "content-encoding"
    accept_header = "accept-encoding"

    def __init__(self, codec: Codec) -> None:
        """Prepare for a method; see RpcProtocol."""
        super().__init__(f"application/{codec.name}", codec, codec.limit)

    def message(self, body: bytes) -> bytes:
        """Return the body, which is the message."""
        return body

    def answer(self, message: bytes) -> Answer:
        """Return the HTTP response with a message."""
        return Answer(HTTPStatus.OK, message, content_type=self.content_type)

    def refusal(self, error: FanfareError) -> Answer:
        """Return the HTTP response for a failed call: JSON, whatever the codec."""
        status = to_status(error)
        body = json.dumps(error_json(status), ensure_ascii=False) + "\n"
        headers = error_headers(status) | self.hints(error)
        return Answer(HTTP_STATUSES[error.code], body.encode(), headers, JSON)


class ConnectGet(ConnectUnary):
    """A GET with the message in its query, for one call of a method without side effects."""

    def __init__(self, codec: Codec, raw_query: str) -> None:
        """Take the query as it was sent; parameters of other names are ignored."""
        super().__init__(codec)
        self._raw_query = raw_query

    @cached_property
    def _query(self) -> dict[str, str]:
        # Parsed when it is needed, which is after the call was counted: 64 KiB can take 25 ms.
        # What is not UTF-8 becomes text that cannot be encoded, and so makes no message.
        return dict(parse_qsl(self._raw_query, keep_blank_values=True, errors="surrogateescape"))

    def check(self, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - the query says it
        """Refuse a request that is compressed, or of another version of the protocol."""
        _check_version(self._query.get("connect", f"v{_VERSION}"), f"v{_VERSION}")
        check_encoding(self._query.get("compression", ""))

    async def receive(self, request: web.BaseRequest) -> bytes:  # noqa: ARG002 - the query has it
        """Return the message in the query.

        Raises:
            BodyTooLargeError: it is larger than any that the method takes.
            MalformedRequestError: there is none, or it is broken.
        """
        text = self._query.get("message")
        if text is None:
            raise MalformedRequestError("the query has no message: send message=...&encoding=json")
        try:
            if self._query.get("base64") == "1":
                padding = "=" * (-len(text) % 4)
                message = base64.b64decode(text + padding, altchars=b"-_", validate=True)
            else:
                message = text.encode()
        except ValueError:
            raise MalformedRequestError("the message in the query is not base64 or UTF-8") from None
        if len(message) > self.codec.limit:
            raise BodyTooLargeError(self.codec.limit)
        return message


class ConnectStream(_Connect, StreamProtocol):
    """A POST that is answered with a stream of messages, for one method."""

    encoding_header = "connect-content-encoding"
    accept_header = "connect-accept-encoding"

    def __init__(self, codec: Codec) -> None:
        """Prepare for a method; see RpcProtocol."""
        super().__init__(f"application/connect+{codec.name}", codec, codec.limit + ENVELOPE_BYTES)

    def message(self, body: bytes) -> bytes:
        """Return the message in the body of a request."""
        return only_message(body)

    def event(self, message: bytes) -> bytes:
        """Return the part of the response with a message, which is given serialised."""
        return envelope(self.codec.event(message))

    def end(self, error: FanfareError | None) -> bytes:
        """Return the last part of the response, which says how the call ended."""
        told = {} if error is None else {"error": error_json(to_status(error))}
        return envelope(json.dumps(told, ensure_ascii=False).encode(), _END_OF_STREAM)


def error_json(status: Status) -> dict[str, Any]:
    """Return the JSON object of an error. For people, each detail also has its JSON, as "debug"."""
    details = []
    for detail in status.details:
        debug = json_format.MessageToDict(detail, preserving_proto_field_name=True)
        name = debug.pop("@type").rpartition("/")[2]
        value = base64.b64encode(detail.value).rstrip(b"=").decode()
        details.append({"type": name, "value": value, "debug": debug})
    return {"code": CODES[status.code], "message": status.message, "details": details}


def _check_version(given: str, served: str) -> None:
    if given != served:
        raise MalformedRequestError(
            f"the version {excerpt(given)} of the Connect protocol is not served: use {served}"
        )
