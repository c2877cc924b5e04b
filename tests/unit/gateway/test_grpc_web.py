"""What gRPC-Web sends and reads, without a server."""

from __future__ import annotations

import base64
from urllib.parse import unquote

import pytest
from google.rpc.status_pb2 import Status
from helpers.grpc_server import READ, Silent

from core import errors
from core.rpc.error_status import to_status
from core.rpc.handlers import Handlers
from gateway.codecs import BinaryCodec
from gateway.envelopes import envelope
from gateway.grpc_web import GrpcWeb, GrpcWebText

GET_USER = READ.methods_by_name["GetUser"]
OK = b"\x80\x00\x00\x00\x10grpc-status: 0\r\n"


@pytest.fixture
def codec() -> BinaryCodec:
    """Return the binary codec of GetUser."""
    handlers = Handlers()
    handlers.add_service(READ, Silent())
    return BinaryCodec(GET_USER, handlers.of(GET_USER))


@pytest.fixture
def web(codec: BinaryCodec) -> GrpcWeb:
    """Return gRPC-Web for GetUser."""
    return GrpcWeb("application/grpc-web+proto", codec)


@pytest.fixture
def text(codec: BinaryCodec) -> GrpcWebText:
    """Return gRPC-Web in base64 for GetUser."""
    return GrpcWebText("application/grpc-web-text", codec)


def _trailers(frame: bytes) -> dict[str, str]:
    assert frame[0] == 0x80
    assert int.from_bytes(frame[1:5]) == len(frame) - 5
    lines = frame[5:].decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def test_an_answer_is_a_message_and_trailers(web: GrpcWeb, text: GrpcWebText) -> None:
    """The content type is that of the request; base64 is for browsers that read only text."""
    answer = web.answer(b"abc")
    assert (answer.status, answer.outcome) == (200, 200)
    assert answer.content_type == "application/grpc-web+proto"
    assert answer.body == envelope(b"abc") + OK
    assert base64.b64decode(text.answer(b"abc").body) == answer.body
    assert text.answer(b"abc").content_type == "application/grpc-web-text"


def test_an_error_is_in_the_trailers(web: GrpcWeb) -> None:
    """Its status has the details, as over gRPC; metrics count the HTTP status of its code."""
    error = errors.UserNotFoundError(7)
    answer = web.refusal(error)
    assert (answer.status, answer.outcome) == (200, 404)
    trailers = _trailers(answer.body)
    details = trailers.pop("grpc-status-details-bin")
    assert trailers == {"grpc-status": "5", "grpc-message": "there is no user 7"}
    assert not details.endswith("=")
    status = Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    assert status == to_status(error)


def test_a_message_cannot_begin_another_trailer(web: GrpcWeb) -> None:
    """Everything but printable ASCII is percent-encoded, as is the percent sign."""
    message = "100 %\r\ngrpc-status: 0\r\nGrüße 👋"
    trailers = _trailers(web.refusal(errors.MalformedRequestError(message)).body)
    assert trailers["grpc-status"] == "3"
    assert trailers["grpc-message"].startswith("100 %25%0D%0Agrpc-status: 0%0D%0AGr%C3%BC")
    assert unquote(trailers["grpc-message"]) == message


def test_each_part_of_a_stream_is_readable_by_itself(text: GrpcWebText) -> None:
    """A browser that reads text decodes what has arrived."""
    assert base64.b64decode(text.event(b"ab")) == envelope(b"ab")
    assert base64.b64decode(text.end(None)) == OK


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1H", 3600),
        ("2M", 120),
        ("3S", 3),
        ("200m", 0.2),
        ("5u", 5e-6),
        ("99999999n", 0.099999999),
        (None, None),
    ],
)
def test_a_timeout_has_a_unit(web: GrpcWeb, header: str | None, seconds: float | None) -> None:
    """The units are those of gRPC."""
    headers = {} if header is None else {"grpc-timeout": header}
    told = web.timeout(headers)
    assert told == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("header", ["", "5", "5s", "m", "123456789m", "1.5S", "-1S"])
def test_a_timeout_of_another_form_is_malformed(web: GrpcWeb, header: str) -> None:
    """It is at most eight digits and a unit."""
    with pytest.raises(errors.MalformedRequestError, match=r"timeout .* a unit .* 500m"):
        web.timeout({"grpc-timeout": header})


def test_a_compressed_request_is_refused(web: GrpcWeb) -> None:
    """The answer says what is supported."""
    web.check({"grpc-encoding": "identity", "grpc-accept-encoding": "gzip"})
    with pytest.raises(errors.UnsupportedEncodingError) as refused:
        web.check({"grpc-encoding": "gzip"})
    answer = web.refusal(refused.value)
    assert answer.headers == {"grpc-accept-encoding": "identity"}
    assert _trailers(answer.body)["grpc-status"] == "12"


def test_a_request_in_base64(text: GrpcWebText) -> None:
    """All of it is encoded in one, as grpc-web's client does."""
    assert text.message(base64.b64encode(envelope(b"abc"))) == b"abc"
    for body in (b"!", b"AAAAAAAA\n", base64.b64encode(envelope(b"abc")).rstrip(b"=")[:-1]):
        with pytest.raises(errors.MalformedRequestError):
            text.message(body)
