"""docs/asyncapi.yaml: up to date, whole, and true of the records that the write service sends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1.events_pb2 import FeedEvent
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc

from core.feed.history import Lsn, Moment
from ops.dead_letters import DeadLetter, replayed_record
from write_service import events
from write_service.events import OutboxEvent
from write_service.kafka_publisher import kafka_record
from write_service.relay import Epoch, UnsentEvent

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "protos"))
import asyncapi  # noqa: E402 - the generators are scripts beside what they generate from

TEXT = (ROOT / "docs" / "asyncapi.yaml").read_text()
DOCUMENT = yaml.safe_load(TEXT)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TWEET = Tweet(id=5, user_id=7, content="hello")
# One of each kind that the write service makes.
EVENTS = [
    events.tweet_created(TWEET, pulled=True, became_pulled=False),
    events.tweet_updated(TWEET, 2),
    events.tweet_deleted(5, 7),
    events.user_followed(1, 7),
    events.user_unfollowed(1, 7),
    events.user_deleted(7),
]


def test_the_document_is_that_of_the_protos() -> None:
    """It is what `make gen` writes."""
    assert asyncapi.document() == TEXT, "run make gen and commit what it writes"


def test_every_reference_leads_to_something() -> None:
    """Within the document, which needs no other file."""
    for reference in _references(DOCUMENT):
        found = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the class of FeedEvent as the proto in the document has it."""
    folder = tmp_path_factory.mktemp("asyncapi")
    schema = DOCUMENT["components"]["schemas"]["FeedEvent"]
    assert schema["schemaFormat"] == "application/vnd.google.protobuf;version=3"
    (folder / "feed.proto").write_text(schema["schema"])
    well_known = Path(protoc.__file__).parent / "_proto"
    out = folder / "feed.binpb"
    arguments = [f"--proto_path={folder}", f"--proto_path={well_known}"]
    assert protoc.main(["protoc", *arguments, f"--descriptor_set_out={out}", "feed.proto"]) == 0
    pool = DescriptorPool()
    pool.Add(FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb))
    for file in FileDescriptorSet.FromString(out.read_bytes()).file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("fanfare.events.v1.FeedEvent"))


@pytest.mark.parametrize("traced", [False, True], ids=["untraced", "traced"])
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_a_record_is_as_described(described: Any, event: OutboxEvent, traced: bool) -> None:
    """Key, headers and value of each kind, with every header and field known to the document."""
    now = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    unsent = UnsentEvent(
        11, event.key, event.type, event.payload, now, *([TRACE] if traced else [])
    )
    value, key, headers = kafka_record(
        unsent, Lsn(2**40), Epoch(3, "0123456789"), TRACE if traced else None
    )
    messages = DOCUMENT["components"]["messages"].values()
    (message,) = [message for message in messages if message["name"] == event.type]
    jsonschema.validate(key, message["bindings"]["kafka"]["key"])
    jsonschema.validate(dict(headers), message["headers"] | {"additionalProperties": False})
    read = described.FromString(value)
    again = FeedEvent.FromString(value)
    assert read.WhichOneof("event") == event.type.replace(".", "_")
    # Field by field, with the same names: nothing is unknown to the document's own proto.
    assert str(read) == str(again)


def test_a_dead_letter_that_was_sent_again_is_as_described() -> None:
    """It has one header more, which tells it from what the relay sends."""
    unsent = UnsentEvent(11, 7, EVENTS[0].type, EVENTS[0].payload, datetime.now(UTC))
    value, _, headers = kafka_record(unsent, Lsn(1), Epoch(3, "0123456789"))
    letter = DeadLetter(0, "feed/3/4", "?", datetime.now(UTC), value, headers, is_replayed=False)
    _, key, sent = replayed_record(letter, Moment("1111111111", Lsn(2)))
    message = DOCUMENT["components"]["messages"]["tweetCreated"]
    jsonschema.validate(key, message["bindings"]["kafka"]["key"])
    jsonschema.validate(dict(sent), message["headers"] | {"additionalProperties": False})
    assert len(sent) == len(headers) + 1


def test_every_kind_of_event_is_described() -> None:
    """The document has no other and lacks none; each is in the channel and in the operation."""
    messages = DOCUMENT["components"]["messages"]
    assert {message["name"] for message in messages.values()} == {event.type for event in EVENTS}
    (channel,) = DOCUMENT["channels"].values()
    (operation,) = DOCUMENT["operations"].values()
    assert channel["messages"].keys() == messages.keys()
    assert len(operation["messages"]) == len(messages)
