"""Prints messages as proto3 JSON, with one printing function (a printer) for each message type.

json_format looks at the descriptor of every field of every message that it prints, which takes half
of its time for a page of tweets. A printer looks at the descriptor once, when it is built. Its
output equals json_format's byte for byte. Types that this module does not cover, such as
google.protobuf.Any, are printed by json_format (decision 0015).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, lru_cache
from json.encoder import encode_basestring
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Printer = Callable[[Any], str]

_TIMESTAMP = "google.protobuf.Timestamp"
# The first second of the year 10000, which RFC 3339 can no longer express.
_END_SECONDS = 253_402_300_800


def _integer(value: int) -> str:
    return str(value)


def _quoted_integer(value: int) -> str:
    return f'"{value}"'


def _boolean(value: bool) -> str:  # noqa: FBT001 -- the value that is printed
    return "true" if value else "false"


_SCALARS: dict[int, Printer] = {
    FieldDescriptor.TYPE_INT32: _integer,
    FieldDescriptor.TYPE_INT64: _quoted_integer,
    FieldDescriptor.TYPE_BOOL: _boolean,
    FieldDescriptor.TYPE_STRING: encode_basestring,
}


def json_body(message: Message) -> bytes:
    """Return the body of the HTTP response with a message.

    It ends with a line end, so that a shell shows the answers of several curls on lines of their
    own.
    """
    return printer(message.DESCRIPTOR)(message).encode() + b"\n"


@cache
def printer(descriptor: Descriptor) -> Printer:
    """Return a function that returns the proto3 JSON of a message of this type.

    The JSON has the field names of the protos, includes empty fields, and does not escape non-ASCII
    characters. For a message that has no JSON form, the function raises what json_format raises.
    """
    if descriptor.full_name == _TIMESTAMP:
        return _timestamp
    if descriptor.file.package == "google.protobuf" or any(map(_is_odd, descriptor.fields)):
        return _any_message
    by_number = sorted(descriptor.fields, key=lambda field: field.number)
    fields = [field_printer(field) for field in by_number]
    # As in json_format's output, empty fields come last, in the order in which they are declared.
    empty = [
        (by_number.index(field), f'"{field.name}": {"[]" if field.is_repeated else _empty(field)}')
        for field in descriptor.fields
        if not field.has_presence
    ]

    def print_message(message: Message) -> str:
        texts = [print_field(message) for print_field in fields]
        if "" in texts:
            texts += [text for index, text in empty if not texts[index]]
            texts = [text for text in texts if text]
        return "{" + ", ".join(texts) + "}"

    return print_message


def _is_odd(field: FieldDescriptor) -> bool:
    """Return whether json_format has to print this field."""
    if field.message_type is not None:
        is_map = field.message_type.GetOptions().map_entry
        return is_map or field.type != FieldDescriptor.TYPE_MESSAGE
    return field.type not in _SCALARS


def _empty(field: FieldDescriptor) -> str:
    return _SCALARS[field.type](field.default_value)


def field_printer(field: FieldDescriptor) -> Callable[[Message], str]:
    """Return a function that returns a message's field as "name": value, or "" if it is empty."""
    name = field.name
    start = f'"{name}": '
    print_value = _value_printer(field)
    if field.is_repeated:
        start += "["

        def print_field(message: Message) -> str:
            values = getattr(message, name)
            return start + ", ".join(map(print_value, values)) + "]" if values else ""

    elif field.has_presence:

        def print_field(message: Message) -> str:
            return start + print_value(getattr(message, name)) if message.HasField(name) else ""

    else:

        def print_field(message: Message) -> str:
            return start + print_value(value) if (value := getattr(message, name)) else ""

    return print_field


def _value_printer(field: FieldDescriptor) -> Printer:
    if field.message_type is None:
        return _SCALARS[field.type]
    built: list[Printer] = []

    # Build the printer at its first use, because a message may contain messages of its own type.
    def print_message(message: Message) -> str:
        if not built:
            built.append(printer(field.message_type))
        return built[0](message)

    return print_message


def _timestamp(value: Any) -> str:
    seconds, nanos = value.seconds, value.nanos
    if 0 <= seconds < _END_SECONDS and 0 <= nanos < 1_000_000_000:
        return _instant(seconds, nanos)
    return f'"{value.ToJsonString()}"'


# Cached, because most tweets have equal created_at and updated_at, and are in many timelines.
@lru_cache(maxsize=16_384)
def _instant(seconds: int, nanos: int) -> str:
    start = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    if not nanos:
        return f'"{start}Z"'
    if nanos % 1_000_000 == 0:
        return f'"{start}.{nanos // 1_000_000:03}Z"'
    if nanos % 1000 == 0:
        return f'"{start}.{nanos // 1000:06}Z"'
    return f'"{start}.{nanos:09}Z"'


def _any_message(message: Message) -> str:
    return json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=None,
        ensure_ascii=False,
    )
