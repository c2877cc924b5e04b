"""The JSON form of a message as an HTTP answer."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import Message


def answer(message: Message, status: int, headers: Mapping[str, str]) -> web.Response:
    """Return proto3 JSON with the contract's field names, empty fields printed."""
    text = json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=None,
        ensure_ascii=False,
    )
    return web.Response(
        body=text.encode(), status=status, headers=headers, content_type="application/json"
    )
