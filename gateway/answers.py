"""The JSON form of a message as an HTTP answer."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from google.protobuf.message import Message

from gateway.transcode import printer


def answer(message: Message, status: int, headers: Mapping[str, str]) -> web.Response:
    """Return proto3 JSON with the contract's field names, empty fields printed."""
    return web.Response(
        body=printer(message.DESCRIPTOR)(message).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )
