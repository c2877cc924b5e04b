"""Requests that were found valid, and are not checked again."""

from __future__ import annotations

import re

import pytest
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.message import Message

from core.errors import InvalidRequestError
from core.rpc import validation
from core.rpc.validation import validate

FILES = (read_pb2.DESCRIPTOR, write_pb2.DESCRIPTOR, auth_pb2.DESCRIPTOR)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """Return a list that gets each request that the rules are applied to."""
    seen: list[Message] = []
    plain = validation.violations

    def violations(message: Message, *, only_first: bool = False) -> list[tuple[str, str]]:
        seen.append(message)
        return plain(message, only_first=only_first)

    monkeypatch.setattr(validation, "violations", violations)
    validation._check_once.cache_clear()
    return seen


def _validate(message: Message) -> None:
    validate(message, message.ByteSize())


def test_a_valid_request_is_checked_once(checked: list[Message]) -> None:
    """Requests of another type with the same bytes, and other requests, are checked too."""
    for _ in range(2):
        for user_id in (1, 2):
            _validate(read_pb2.GetUserRequest(user_id=user_id))
            _validate(read_pb2.GetTweetRequest(tweet_id=user_id))
    assert len(checked) == 4


def test_an_invalid_request_is_refused_every_time(checked: list[Message]) -> None:
    """Only valid requests are remembered."""
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="user_id"):
            _validate(read_pb2.GetUserRequest(user_id=-1))
    assert len(checked) == 2


@pytest.mark.parametrize(
    "message",
    [
        write_pb2.CreateUserRequest(username="a", email="a@example.com", password="secret"),
        write_pb2.CreateTweetRequest(user_id=1, content="x"),
        write_pb2.BatchCreateTweetsRequest(
            requests=[write_pb2.CreateTweetRequest(user_id=1, content="x")]
        ),
        read_pb2.BatchGetUsersRequest(user_ids=range(1, 100)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_no_text_and_nothing_long_is_remembered(checked: list[Message], message: Message) -> None:
    """A password must not stay in memory, and long requests would take much of it."""
    for _ in range(2):
        _validate(message)
    assert len(checked) == 2


def test_no_rule_reads_the_clock() -> None:
    """If one did, a request that was valid once might not be valid later."""
    for file in FILES:
        assert not re.search(rb"\bnow\b", file.serialized_pb)
