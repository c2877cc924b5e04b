"""The largest request that a method can use, derived from the rules of the contract.

A request above it cannot be valid, so a server refuses it before it reads or parses all of it.
"""

from __future__ import annotations

import re

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

# No request may be larger than this, whatever the contract says. A thousand tweets of 280 code
# points fit, even if their JSON escapes every character.
MAX_REQUEST_BYTES = 4 * 1024 * 1024
# The bound is this multiple of the largest valid request, so that JSON may be indented, and a
# request that breaks a rule by a little is told which one.
_SLACK = 2
_ROUND_BYTES = 1024
# A tag and a length before each value of a serialised message.
_FRAME_BYTES = 10
_VARINT_BYTES = 10
# A number in quotes, and what stands between two values of a list or an object: ", ".
_JSON_NUMBER_BYTES = 22
_JSON_SEPARATOR_BYTES = 2
# JSON may write a character of one UTF-8 byte as \u0041, and one of four as two of those.
_ESCAPED_BYTE = 6
_ESCAPED_CHARACTER = 12
_UTF8_CHARACTER = 4
_UUID_CHARACTERS = 36
_LIMITED_PATTERN = re.compile(r"\^\[[^]]*\]\{\d+,(\d+)\}\$")
_NUMBERS = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_BOOL}


def max_message_bytes(descriptor: Descriptor) -> int:
    """Return how many bytes a serialised request of this type may have.

    Raises:
        ValueError: a field has no limit in the contract, which is a mistake in the contract.
    """
    return _rounded(_message_bytes(descriptor))


def max_json_bytes(descriptor: Descriptor) -> int:
    """Return how many bytes the JSON of a request of this type may have.

    Raises:
        ValueError: a field has no limit in the contract, which is a mistake in the contract.
    """
    return _rounded(_json_bytes(descriptor))


def _rounded(size: int) -> int:
    blocks = size * _SLACK // _ROUND_BYTES + 1
    return min(blocks * _ROUND_BYTES, MAX_REQUEST_BYTES)


def _message_bytes(descriptor: Descriptor) -> int:
    total = 0
    for field in descriptor.fields:
        if field.message_type is not None:
            size = _message_bytes(field.message_type)
        elif field.type in _NUMBERS:
            size = _VARINT_BYTES
        else:
            size = _text_limit(field)[0]
        total += _count(field) * (_FRAME_BYTES + size)
    return total


def _json_bytes(descriptor: Descriptor) -> int:
    total = len("{}")
    for field in descriptor.fields:
        if field.message_type is not None:
            size = _json_bytes(field.message_type)
        elif field.type in _NUMBERS:
            size = _JSON_NUMBER_BYTES
        else:
            size = len('""') + _text_limit(field)[1]
        name = max(len(field.name), len(field.json_name))
        total += name + len('"": []') + _JSON_SEPARATOR_BYTES
        total += _count(field) * (_JSON_SEPARATOR_BYTES + size)
    return total


def _count(field: FieldDescriptor) -> int:
    if not field.is_repeated:
        return 1
    limit = _rules(field).repeated.max_items
    if not limit:
        raise _unlimited(field, "repeated.max_items")
    return int(limit)


def _text_limit(field: FieldDescriptor) -> tuple[int, int]:
    """Return how many bytes a text may have in UTF-8, and how many in JSON with escapes."""
    if field.type != FieldDescriptor.TYPE_STRING:
        raise ValueError(f"{field.full_name} has a type whose size is not known here: add it")
    rules = _rules(field).string
    if rules.max_bytes:
        return rules.max_bytes, rules.max_bytes * _ESCAPED_BYTE
    if rules.max_len:
        characters = int(rules.max_len)
    elif rules.uuid:
        characters = _UUID_CHARACTERS
    elif found := _LIMITED_PATTERN.fullmatch(rules.pattern):
        characters = int(found[1])
    else:
        raise _unlimited(field, "string.max_len or string.max_bytes")
    return characters * _UTF8_CHARACTER, characters * _ESCAPED_CHARACTER


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def _unlimited(field: FieldDescriptor, rule: str) -> ValueError:
    return ValueError(f"{field.full_name} has no limit in the contract: add {rule}")
