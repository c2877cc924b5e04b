"""Calls of methods that answer once, over gRPC-Web."""

from __future__ import annotations

import base64
import json

from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from core import errors
from gateway.envelopes import envelope

from .fakes import Client, Fake
from .rpc_calls import GET_USER, REQUEST, USER, USER_JSON, post, trailers_in

OK_FRAME = b"\x80\x00\x00\x00\x10grpc-status: 0\r\n"


async def test_a_call_by_grpc_web(queries: Client, read: Fake) -> None:
    """The message is in a frame, and another one says that the call succeeded."""
    read.answers["GetUser"] = USER
    body = envelope(REQUEST.SerializeToString())
    answer = envelope(USER.SerializeToString()) + OK_FRAME
    for suffix in ("", "+proto"):
        kind = f"application/grpc-web{suffix}"
        reply = await post(queries, GET_USER, body, kind, **{"X-Grpc-Web": "1"})
        assert (reply.status, reply.headers["Content-Type"]) == (200, kind)
        assert reply.body == answer
        text = f"application/grpc-web-text{suffix}"
        reply = await post(queries, GET_USER, base64.b64encode(body), text)
        assert (reply.status, reply.headers["Content-Type"]) == (200, text)
        assert base64.b64decode(reply.body) == answer
    reply = await post(queries, GET_USER, envelope(b'{"user_id": 5}'), "application/grpc-web+json")
    size = int.from_bytes(reply.body[1:5])
    assert json.loads(reply.body[5 : 5 + size]) == USER_JSON


async def test_an_error_by_grpc_web(queries: Client, read: Fake) -> None:
    """It is in the trailers, with its details; the body has no message."""
    read.answers["GetUser"] = errors.UserNotFoundError(7)
    kind = "application/grpc-web+proto"
    reply = await post(queries, GET_USER, envelope(REQUEST.SerializeToString()), kind)
    trailers = trailers_in(reply.body)
    assert (reply.status, trailers["grpc-status"]) == (200, "5")
    details = trailers["grpc-status-details-bin"]
    status = Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "USER_NOT_FOUND"


async def test_grpc_web_takes_one_message(queries: Client) -> None:
    """None and two are unimplemented, as is a compressed one."""
    kind = "application/grpc-web"
    for body in (b"", envelope(b"") + envelope(b"")):
        reply = await post(queries, GET_USER, body, kind)
        assert trailers_in(reply.body)["grpc-status"] == "12"
    reply = await post(queries, GET_USER, envelope(b"x", 1), kind, **{"Grpc-Encoding": "gzip"})
    assert trailers_in(reply.body)["grpc-status"] == "12"
    assert reply.headers["grpc-accept-encoding"] == "identity"
