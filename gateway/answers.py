"""Messages as HTTP responses."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from google.protobuf.message import Message

from gateway.transcode import printer


def answer(message: Message, status: int, headers: Mapping[str, str]) -> web.Response:
    """Return the message as proto3 JSON, with the field names of the protos and empty fields.

    It ends with a line end, so that a shell shows the answers of several curls on lines of their
    own.
    """
    return web.Response(
        body=printer(message.DESCRIPTOR)(message).encode() + b"\n",
        status=status,
        headers=headers,
        content_type="application/json",
    )
