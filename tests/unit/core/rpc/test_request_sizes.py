"""The largest request of each method, as the contract limits it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from buf.validate import validate_pb2
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core.rpc.request_sizes import MAX_REQUEST_BYTES, max_json_bytes, max_message_bytes

METHODS: list[MethodDescriptor] = [
    method
    for service in (
        write_pb2.DESCRIPTOR.services_by_name["WriteService"],
        auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
        read_pb2.DESCRIPTOR.services_by_name["ReadService"],
    )
    for method in service.methods
]
INTEGERS = {FieldDescriptor.TYPE_INT64: 2**63 - 1, FieldDescriptor.TYPE_INT32: 2**31 - 1}
# What the 1,000 texts of a batch may hold if they are tweets and not mistakes.
TWEET_CHARACTERS = 280


def _largest(descriptor: Descriptor, *, in_batch: bool = False) -> Message:
    """Return a request in which every field is as large as its rule allows."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        value: Any
        if field.message_type is not None:
            value = _largest(field.message_type, in_batch=True)
        elif field.type in INTEGERS:
            value = INTEGERS[field.type]
        elif rules.string.max_bytes:
            value = "\U0001f600" * (TWEET_CHARACTERS if in_batch else rules.string.max_bytes // 4)
        elif rules.string.max_len:
            value = "\U0001f600" * rules.string.max_len
        elif rules.string.uuid:
            value = "9f1c4e0a-53f5-4a8e-b0a6-3f4f6a3f9a11"
        else:
            assert rules.string.pattern.endswith("{1,32}$")
            value = "x" * 32
        if field.is_repeated:
            getattr(message, field.name).extend([value] * rules.repeated.max_items)
        else:
            setattr(message, field.name, value)
    return message


def _escaped(document: Any, indent: int | None) -> str:
    """Return the JSON with every character of its texts escaped, which is its longest form."""
    plain = json.dumps(document, indent=indent)
    return plain.replace("x", "\\u0078")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_every_valid_request_is_below_the_limits(method: MethodDescriptor) -> None:
    """This holds for bytes, and for JSON with escapes, indented or not."""
    largest = _largest(method.input_type)
    assert largest.ByteSize() <= max_message_bytes(method.input_type) <= MAX_REQUEST_BYTES
    document = json_format.MessageToDict(largest)
    for indent in (None, 2):
        size = len(_escaped(document, indent))
        assert size <= max_json_bytes(method.input_type) <= MAX_REQUEST_BYTES


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_only_a_batch_of_tweets_may_be_large(method: MethodDescriptor) -> None:
    """Reading and parsing 100 KiB takes about a millisecond, and 4 MiB far longer."""
    if method.name != "BatchCreateTweets":
        assert max_message_bytes(method.input_type) < 50 * 1024
        assert max_json_bytes(method.input_type) < 100 * 1024


@pytest.mark.parametrize(
    ("kind", "repeated"),
    [
        (FieldDescriptorProto.TYPE_STRING, False),
        (FieldDescriptorProto.TYPE_INT64, True),
        (FieldDescriptorProto.TYPE_BYTES, False),
    ],
)
def test_a_field_without_a_limit_is_a_mistake_in_the_contract(
    kind: FieldDescriptorProto.Type.ValueType, *, repeated: bool
) -> None:
    """Such a request could be of any size, so the process does not start."""
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    odd = DescriptorProto(name="Odd")
    odd.field.add(name="odd", number=1, type=kind, label=label)
    pool = DescriptorPool()
    pool.Add(FileDescriptorProto(name="odd.proto", package="odd", message_type=[odd]))
    descriptor = pool.FindMessageTypeByName("odd.Odd")
    for limit in (max_message_bytes, max_json_bytes):
        with pytest.raises(ValueError, match=r"odd\.Odd\.odd has"):
            limit(descriptor)
