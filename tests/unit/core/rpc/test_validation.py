"""Requests that were found valid in another form are not checked again."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import cast

import pytest
from fanfare.auth.v1 import auth_pb2
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core.errors import InvalidRequestError
from core.rpc import validation
from core.rpc.validation import RequestValidator, interchangeable_ids, violations

REQUESTS: list[Descriptor] = [
    method.input_type
    for file in (r, w, auth_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# Around the limits of the rules; large ids differ from small ones in how they are serialised.
NUMBERS = (-1, 0, 1, 2, 20, 10_000, 10_001, 2**31 - 1)
IDS = (-(2**63), *NUMBERS, 2**63 - 1)
TEXTS = ("", "a", "alice", "a@example.com", "x" * 300, "\u200d")
RANDOM_REQUESTS = 300


def _random_requests(descriptor: Descriptor) -> Iterator[Message]:
    chance = random.Random(descriptor.full_name)
    for _ in range(RANDOM_REQUESTS):
        yield _random_message(descriptor, chance)


def _random_message(descriptor: Descriptor, chance: random.Random) -> Message:
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING and chance.random() < 0.5:
            setattr(message, field.name, chance.choice(TEXTS))
        elif field.is_repeated and field.message_type is None:
            getattr(message, field.name).extend(chance.choices(NUMBERS, k=chance.randrange(3)))
        elif field.type == FieldDescriptor.TYPE_INT64:
            setattr(message, field.name, chance.choice(IDS))
        elif field.type == FieldDescriptor.TYPE_INT32:
            setattr(message, field.name, chance.choice(NUMBERS))
    return message


def _verdict(validator: RequestValidator, request: Message) -> list[tuple[str, str]]:
    try:
        validator.validate(request, request.ByteSize())
    except InvalidRequestError as error:
        return error.violations
    return []


@pytest.mark.parametrize("descriptor", REQUESTS, ids=lambda each: str(each.name))
def test_the_verdict_is_that_of_the_rules(descriptor: Descriptor) -> None:
    """Whatever was found valid before; and the request is left as it was."""
    validator = RequestValidator(descriptor)
    for request in _random_requests(descriptor):
        before = request.SerializeToString()
        assert _verdict(validator, request) == violations(request)
        assert request.SerializeToString() == before


def test_requests_that_differ_by_valid_ids_are_checked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other differences are checked again, as is all that is not valid."""
    checked: list[Message] = []

    def note(request: Message, *, only_first: bool) -> list[tuple[str, str]]:
        checked.append(request)
        return violations(request, only_first=only_first)

    monkeypatch.setattr(validation, "violations", note)
    validator = RequestValidator(r.GetHomeTimelineRequest.DESCRIPTOR)
    for user_id in (3, 5, 2**62):
        assert not _verdict(validator, r.GetHomeTimelineRequest(user_id=user_id, limit=20))
    assert len(checked) == 1
    assert not _verdict(validator, r.GetHomeTimelineRequest(user_id=3, limit=21))
    for user_id in (0, -1, 0):
        assert _verdict(validator, r.GetHomeTimelineRequest(user_id=user_id, limit=20))
    assert len(checked) == 5


def test_few_and_only_short_forms_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client cannot fill the memory."""
    monkeypatch.setattr(validation, "MAX_FORMS", 3)
    validator = RequestValidator(r.GetHomeTimelineRequest.DESCRIPTOR)
    for limit in range(10):
        assert not _verdict(validator, r.GetHomeTimelineRequest(user_id=1, limit=limit))
        assert len(validator._valid_forms) <= 3
    validator = RequestValidator(r.BatchGetUsersRequest.DESCRIPTOR)
    assert not _verdict(validator, r.BatchGetUsersRequest(user_ids=range(1, 100)))
    assert not validator._valid_forms


@pytest.mark.parametrize(
    "request_",
    [
        w.CreateUserRequest(username="a", email="a@example.com", password="secret"),
        w.CreateTweetRequest(user_id=1, content="x"),
        w.BatchCreateTweetsRequest(requests=[w.CreateTweetRequest(user_id=1, content="x")]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_no_text_is_remembered(request_: Message) -> None:
    """A password must not stay in memory."""
    validator = RequestValidator(cast("Descriptor", request_.DESCRIPTOR))
    assert not _verdict(validator, request_)
    assert not validator._valid_forms


def test_no_rule_reads_the_clock() -> None:
    """If one did, a request that was valid once might not be valid later."""
    for file in (r, w, auth_pb2):
        assert not re.search(rb"\bnow\b", file.DESCRIPTOR.serialized_pb)


def test_only_ids_without_other_rules_are_interchangeable() -> None:
    """Two users may not be the same in FollowUser, and Tweet's fields have no rule at all."""
    assert interchangeable_ids(r.GetHomeTimelineRequest.DESCRIPTOR) == ["user_id"]
    assert interchangeable_ids(w.FollowUserRequest.DESCRIPTOR) == []
    assert interchangeable_ids(Tweet.DESCRIPTOR) == []
