"""Messages as HTTP responses."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from google.protobuf.message import Message

from gateway.transcode import printer


def answer(message: Message, status: int, headers: Mapping[str, str]) -> web.Response:
    """Return the message as proto3 JSON, with the field names of the protos and empty fields."""
    return web.Response(
        body=printer(message.DESCRIPTOR)(message).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )
