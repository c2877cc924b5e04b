"""What any client may send over Connect and gRPC-Web."""

from __future__ import annotations

import asyncio
import base64

import pytest
from google.protobuf.message import Message
from helpers.grpc_server import READ, Silent
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import FanfareError, InternalError
from core.rpc.handlers import Handlers
from gateway.codecs import BinaryCodec, Codec, JsonCodec
from gateway.connect import ConnectGet, ConnectStream, ConnectUnary
from gateway.envelopes import envelope
from gateway.grpc_web import GrpcWeb, GrpcWebText
from gateway.rpc_protocols import RpcProtocol

METHOD = READ.methods_by_name["GetHomeTimeline"]
HANDLERS = Handlers()
HANDLERS.add_service(READ, Silent())
BINARY, JSON = BinaryCodec(METHOD, HANDLERS.of(METHOD)), JsonCodec(METHOD)
PROTOCOLS = [
    ConnectUnary(BINARY),
    ConnectUnary(JSON),
    ConnectStream(BINARY),
    ConnectStream(JSON),
    GrpcWeb("application/grpc-web", BINARY),
    GrpcWeb("application/grpc-web+json", JSON),
    GrpcWebText("application/grpc-web-text", BINARY),
]
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("connect-protocol-version", "connect-timeout-ms", "content-encoding"),
            *("connect-content-encoding", "grpc-encoding", "grpc-timeout"),
        ]
    ),
    st.sampled_from(["", "0", "1", "v1", "identity", "gzip", "5m", "99999999H"]) | st.text(),
)
MESSAGES = st.binary() | st.sampled_from([b"", b"\x08\x07", b'{"user_id": "7"}', b"{}"])
BODIES = (
    MESSAGES
    | st.builds(envelope, MESSAGES, st.integers(0, 255))
    | st.builds(envelope, MESSAGES).map(base64.b64encode)
)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["connect", "encoding", "message", "base64", "compression", "x"]),
        st.sampled_from(["1", "v1", "json", "identity", "CAc", "%08%07", "%FF", "{}", "\udcff", ""])
        | st.text(),
    ).map("=".join)
).map("&".join)


def _refused(protocol: RpcProtocol, error: FanfareError) -> None:
    """Check that an error is the client's, and can be told."""
    assert not isinstance(error, InternalError)
    answer = protocol.refusal(error)
    assert 400 <= answer.outcome < 500 or answer.outcome == 501
    assert answer.body


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda each: each.content_type)
@given(headers=HEADERS, body=BODIES)
@example(headers={"connect-timeout-ms": "0", "grpc-timeout": "0n"}, body=b"")
def test_any_request_is_read_or_refused(
    protocol: RpcProtocol, headers: dict[str, str], body: bytes
) -> None:
    """Nothing that a client sends fails in another way."""
    try:
        seconds = protocol.timeout(headers)
        protocol.check(headers)
        message = protocol.codec.parse(protocol.message(body))
    except FanfareError as error:
        _refused(protocol, error)
    else:
        assert seconds is None or seconds >= 0
        assert isinstance(message, Message)


@pytest.mark.parametrize("codec", [BINARY, JSON], ids=["proto", "json"])
@given(query=QUERIES)
def test_any_query_is_read_or_refused(codec: Codec, query: str) -> None:
    """The query is what a client sent, with or without percent signs."""
    protocol = ConnectGet(codec, query)
    try:
        protocol.check({})
        data = asyncio.run(protocol.receive(None))  # type: ignore[arg-type]
        message = codec.parse(data)
    except FanfareError as error:
        _refused(protocol, error)
    else:
        assert isinstance(message, Message)
