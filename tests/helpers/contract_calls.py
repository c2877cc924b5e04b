"""Calls of any method of the contract, built from its descriptors by any kind of caller."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

SERVICES = [
    write_pb2.DESCRIPTOR.services_by_name["WriteService"],
    read_pb2.DESCRIPTOR.services_by_name["ReadService"],
    auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
]
METHODS = [method for service in SERVICES for method in service.methods]
OWNER, STRANGER, ADMIN, TWEET = 7, 9, 1, 70
VALUES: dict[str, Any] = {
    "user_id": OWNER,
    "follower_id": OWNER,
    "followed_id": STRANGER,
    "tweet_id": TWEET,
    "user_ids": [OWNER, OWNER],
    "tweet_ids": [TWEET],
    "username": "alice",
    "email": "alice@example.com",
    "password": "pass123",
    "current_password": "pass123",
    "content": "hello",
    "refresh_token": "x",
}


class Accounts:
    """A fake Postgres primary that knows one tweet and one administrator."""

    async def tweet_author(self, tweet_id: int) -> int | None:
        """Return the author of the one tweet."""
        return OWNER if tweet_id == TWEET else None

    async def is_admin(self, user_id: int) -> bool:
        """Return whether it is the one administrator."""
        return user_id == ADMIN


def bearer(token: str) -> list[tuple[str, str]]:
    """Return the metadata of a caller with this access token."""
    return [("authorization", f"Bearer {token}")]


def fill(descriptor: Descriptor, values: dict[str, Any]) -> Message:
    """Return a message whose fields have the values of their names."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None and field.is_repeated:
            getattr(message, field.name).append(fill(field.message_type, values))
        elif field.name in values and field.is_repeated:
            getattr(message, field.name).extend(values[field.name])
        elif field.name in values:
            setattr(message, field.name, values[field.name])
    return message


async def status_of(
    channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, metadata: Any
) -> grpc.StatusCode:
    """Return the status of a call."""
    kind: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = kind(f"/{method.containing_service.full_name}/{method.name}")
    answer = call(request.SerializeToString(), metadata=metadata, timeout=20)
    code: grpc.StatusCode = await answer.code()
    return code
