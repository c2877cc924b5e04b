"""gRPC-Web, the protocol by which browsers call gRPC; also its form in base64.

The response is 200 even if the call fails. The last frame of its body says how the call ended.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from core.errors import FanfareError, MalformedRequestError
from core.rpc.error_status import to_status
from gateway.answers import Answer
from gateway.codecs import Codec
from gateway.envelopes import ENVELOPE_BYTES, envelope, only_message
from gateway.rpc_protocols import StreamProtocol, UnaryProtocol, read_timeout

_TRAILERS = 0x80
_TIMEOUT = re.compile("([0-9]{1,8})([HMSmun])")
_TIMEOUT_FORM = "at most 8 digits and a unit (H, M, S, m, u or n), such as 500m"
_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# Printable ASCII but %, which gRPC sends as it is in grpc-message.
_UNQUOTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class GrpcWeb(UnaryProtocol, StreamProtocol):
    """application/grpc-web, for one method."""

    timeout_header = "grpc-timeout"
    encoding_header = "grpc-encoding"
    accept_header = "grpc-accept-encoding"

    def __init__(self, content_type: str, codec: Codec) -> None:
        """Prepare for a method; see RpcProtocol."""
        super().__init__(content_type, codec, codec.limit + ENVELOPE_BYTES)

    def timeout(self, headers: Mapping[str, str]) -> float | None:
        """Return how many seconds the client waits for the answer; None if it does not say."""
        given = headers.get(self.timeout_header)
        if given is None:
            return None
        amount, unit = read_timeout(given, _TIMEOUT, _TIMEOUT_FORM).groups()
        return int(amount) * _UNIT_SECONDS[unit]

    def message(self, body: bytes) -> bytes:
        """Return the message in the body of a request."""
        return only_message(body)

    def answer(self, message: bytes) -> Answer:
        """Return the HTTP response with a message, and with the status OK."""
        body = self._encode(envelope(message) + _last_frame(None))
        return Answer(HTTPStatus.OK, body, content_type=self.content_type)

    def event(self, message: bytes) -> bytes:
        """Return the part of the response with a message, which is given serialised."""
        return self._encode(envelope(self.codec.event(message)))

    def end(self, error: FanfareError | None) -> bytes:
        """Return the last part of the response, which says how the call ended."""
        return self._encode(_last_frame(error))

    def _encode(self, frames: bytes) -> bytes:
        """Return frames as the content type wants them."""
        return frames


class GrpcWebText(GrpcWeb):
    """application/grpc-web-text, for one method: the same in base64, each part by itself."""

    def __init__(self, content_type: str, codec: Codec) -> None:
        """Prepare for a method; see RpcProtocol."""
        super().__init__(content_type, codec)
        self._limit = -(-self._limit // 3) * 4

    def message(self, body: bytes) -> bytes:
        """Return the message in the body of a request."""
        try:
            frames = base64.b64decode(body, validate=True)
        except ValueError:
            raise MalformedRequestError("the body is not base64: encode all of it in one") from None
        return super().message(frames)

    def _encode(self, frames: bytes) -> bytes:
        return base64.b64encode(frames)


def _last_frame(error: FanfareError | None) -> bytes:
    if error is None:
        return envelope(b"grpc-status: 0\r\n", _TRAILERS)
    status = to_status(error)
    details = base64.b64encode(status.SerializeToString()).rstrip(b"=").decode()
    lines = (
        f"grpc-status: {status.code}\r\n"
        f"grpc-message: {quote(status.message, safe=_UNQUOTED)}\r\n"
        f"grpc-status-details-bin: {details}\r\n"
    )
    return envelope(lines.encode(), _TRAILERS)
