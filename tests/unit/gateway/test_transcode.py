"""The printers, compared with json_format."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2
from helpers.grpc_server import READ, WRITE
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.transcode import printer

ANSWERS = [m.output_type for service in (READ, WRITE) for m in service.methods]
LAST_SECOND = 253_402_300_799
TIMESTAMPS = st.builds(
    Timestamp,
    seconds=st.integers(-62_135_596_800, LAST_SECOND) | st.sampled_from([0, -1, LAST_SECOND]),
    nanos=st.integers(0, 999).map(lambda n: n * 1_000_000)
    | st.integers(0, 999_999).map(lambda n: n * 1000)
    | st.integers(0, 999_999_999),
)
DETAILS = st.builds(ErrorInfo, reason=st.text(), metadata=st.dictionaries(st.text(), st.text()))


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: st.text(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_BYTES: st.binary(),
}
WELL_KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "google.protobuf.Timestamp": TIMESTAMPS,
    "google.protobuf.Any": DETAILS.map(_packed),
}


@cache
def _messages(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[Any]:
    if descriptor.full_name in WELL_KNOWN:
        return WELL_KNOWN[descriptor.full_name]
    fields = {}
    for field in descriptor.fields:
        if field.message_type is None:
            value = SCALARS[field.type]
        elif depth < 4:
            value = _messages(field.message_type, depth + 1)
        else:
            continue
        fields[field.name] = st.lists(value, max_size=3) if field.is_repeated else value
    return st.fixed_dictionaries({}, optional=fields).map(
        lambda values: GetMessageClass(descriptor)(**values)
    )


def _oracle(message: Message) -> str:
    return json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=None,
        ensure_ascii=False,
    )


# Hypothesis needs a second for its first text, because it loads a table of all of Unicode.
@given(message=st.sampled_from(ANSWERS).flatmap(_messages))
def test_every_answer_of_the_contract(message: Message) -> None:
    """For every response of the contract, the output is json_format's, byte for byte."""
    assert printer(message.DESCRIPTOR)(message) == _oracle(message)


@example(Timestamp(seconds=1, nanos=100))
@example(Timestamp(seconds=1, nanos=10))
@example(Timestamp(seconds=1, nanos=10_000))
@example(Timestamp(seconds=1, nanos=10_000_000))
@given(TIMESTAMPS)
def test_times(time: Timestamp) -> None:
    """Printed times have 0, 3, 6 or 9 decimals, and lie between the years 1 and 9999."""
    assert printer(time.DESCRIPTOR)(time) == _oracle(time)


@st.composite
def _any_type(draw: st.DrawFn) -> Descriptor:
    """Draw a message type with random fields, including those that are left to json_format."""
    file = descriptor_pb2.FileDescriptorProto(name="odd.proto", package="odd", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    message = file.message_type.add(name="Odd")
    numbers = draw(st.lists(st.integers(1, 100), unique=True, max_size=6))
    if draw(st.booleans()):
        message.oneof_decl.add(name="choice")
    names = [".odd.Odd", ".google.protobuf.Timestamp"]
    for number in numbers:
        field = message.field.add(name=f"field_{number}", number=number)
        field.label = field.LABEL_OPTIONAL
        kind = draw(st.sampled_from([*SCALARS, *names]))
        if isinstance(kind, str):
            field.type, field.type_name = field.TYPE_MESSAGE, kind
        else:
            field.type = kind
        if draw(st.booleans()):
            field.label = field.LABEL_REPEATED
        elif len(message.oneof_decl) and draw(st.booleans()):
            field.oneof_index = 0
    if not any(field.HasField("oneof_index") for field in message.field):
        message.ClearField("oneof_decl")
    pool = DescriptorPool()
    stamps = descriptor_pb2.FileDescriptorProto()
    Timestamp.DESCRIPTOR.file.CopyToProto(stamps)
    pool.Add(stamps)
    pool.Add(file)
    return pool.FindMessageTypeByName("odd.Odd")


@given(data=st.data())
def test_any_type(data: st.DataObject) -> None:
    """Oneofs, recursion and unordered field numbers are printed as json_format prints them."""
    descriptor = data.draw(_any_type())
    values: Any = {}
    for field in descriptor.fields:
        if field.message_type is None and data.draw(st.booleans()):
            one = SCALARS[field.type]
            values[field.name] = data.draw(st.lists(one, max_size=3) if field.is_repeated else one)
    kind = GetMessageClass(descriptor)
    message: Any = kind(**values)
    for field in descriptor.fields:
        if field.message_type is not None and data.draw(st.booleans()):
            inner: Any
            if field.message_type.full_name == "odd.Odd":
                inner = kind(**values)
            else:
                inner = GetMessageClass(field.message_type)(seconds=5, nanos=7_000)
            if field.is_repeated:
                getattr(message, field.name).extend([inner, inner])
            else:
                getattr(message, field.name).CopyFrom(inner)
    assert printer(descriptor)(message) == _oracle(message)


def test_a_time_beyond_the_calendar_has_no_json() -> None:
    """The printer raises ValueError, as json_format does, instead of printing a wrong date."""
    for time in (Timestamp(seconds=LAST_SECOND + 1), Timestamp(nanos=-1)):
        with pytest.raises(ValueError, match="Timestamp is not valid"):
            printer(time.DESCRIPTOR)(time)


def test_what_is_left_to_json_format() -> None:
    """json_format prints Any (as in a status's details), durations, enums and maps."""
    status = Status(code=14, message="why", details=[_packed(RetryInfo()), AnyMessage()])
    serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    for message in (status, serving, RetryInfo(), ErrorInfo(metadata={"a": "b"})):
        assert printer(message.DESCRIPTOR)(message) == _oracle(message)
