"""How tests call methods over Connect and gRPC-Web, and read the answers."""

from __future__ import annotations

import base64
from typing import Any

from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo

from .fakes import Client, Reply

DEADLINE_SECONDS = 10.0
READ_PATH, WRITE_PATH = "/fanfare.read.v1.ReadService/", "/fanfare.write.v1.WriteService/"
GET_USER = READ_PATH + "GetUser"
REQUEST = read_pb2.GetUserRequest(user_id=2**60)
USER = read_pb2.GetUserResponse(user=User(id=2**60, username="alice", bio="Grüße 👋"))
USER_JSON = {"user": {"id": str(2**60), "username": "alice", "bio": "Grüße 👋"}}
PROTO, JSON, TEXT = "application/proto", "application/json", "text/plain; charset=utf-8"


async def post(client: Client, path: str, body: Any, kind: str, **headers: str) -> Reply:
    """Call a method; a message is sent serialised."""
    if isinstance(body, Message):
        body = body.SerializeToString()
    return await client.send("POST", path, body, **{"Content-Type": kind, **headers})


def error_info(detail: dict[str, str]) -> ErrorInfo:
    """Return the ErrorInfo in the details of an error of Connect."""
    assert detail["type"] == "google.rpc.ErrorInfo"
    padding = "=" * (-len(detail["value"]) % 4)
    return ErrorInfo.FromString(base64.b64decode(detail["value"] + padding))


def trailers_in(frame: bytes) -> dict[str, str]:
    """Return the trailers in the last frame of gRPC-Web."""
    assert frame[0] == 0x80
    assert len(frame) == 5 + int.from_bytes(frame[1:5])
    return dict(line.split(": ", 1) for line in frame[5:].decode().split("\r\n") if line)
