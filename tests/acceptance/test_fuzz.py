"""Every RPC under random requests: valid ones, broken ones, and bytes that are no request.

The strategies are made from the contract's descriptors, so a new RPC is fuzzed without a line here.
`FUZZ_CALLS=5000 pytest tests/acceptance/test_fuzz.py` makes so many calls of each RPC, each time
others; by default they are few and the same ones.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Fanfare, details

from cli.system import System

CALLS = int(os.environ.get("FUZZ_CALLS", "60"))
SERVICES = {
    "write_port": write_pb2.DESCRIPTOR.services_by_name["WriteService"],
    "read_port": read_pb2.DESCRIPTOR.services_by_name["ReadService"],
}
# What takes away comes last, so that the others have something to find.
LAST = ["UnfollowUser", "DeleteTweet", "DeleteUser"]
METHODS = sorted(
    (method for service in SERVICES.values() for method in service.methods),
    key=lambda method: LAST.index(method.name) if method.name in LAST else -1,
)
# What a caller can be blamed for. Calls come one by one: nothing may be overloaded or too late.
REFUSALS = {
    code.value[0]
    for code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
    )
}
INTERNALS = ("Traceback", "psycopg", "SELECT", "redis", "Exception", ".py")

INTEGERS = {
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
}
TEXTS = [
    *("", "a", "alice_1", "a@example.com", "9f1c4e0a-53f5-4a8e-b0a6-3f4f6a3f9a11", "x" * 300),
    *("\0", "\u202e", "e\u0301" * 200, "\U0001f600" * 100, "'; DROP TABLE users; --", "%s%(a)s"),
]


class Fuzzed:
    """A system of the test's own: what is fuzzed deletes users and tweets."""

    def __init__(self, fanfare: Fanfare) -> None:
        users = [fanfare.user() for _ in range(30)]
        for number, user in enumerate(users):
            for other in users[:number]:
                fanfare.follow(user, other)
        self.users = [user.id for user in users]
        self.tweets = [fanfare.tweet(user).id for user in users]
        self.channels = {
            service.full_name: grpc.insecure_channel(f"127.0.0.1:{getattr(fanfare.settings, port)}")
            for port, service in SERVICES.items()
        }

    def call(self, method: MethodDescriptor, request: bytes) -> str:
        """Make the call; return "OK", or the reason of a refusal that the caller can be told."""
        service = method.containing_service.full_name
        call: Callable[..., bytes] = self.channels[service].unary_unary(f"/{service}/{method.name}")
        try:
            answer = call(request, timeout=20)
        except grpc.RpcError as error:
            return _refusal(error)
        GetMessageClass(method.output_type).FromString(answer)
        return "OK"


def _refusal(error: grpc.RpcError) -> str:
    """Return the reason; fails the test for what a caller must not be told."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, f"no details: {error}"
    assert status.code in REFUSALS, str(status)
    assert not [word for word in INTERNALS if word in status.message], str(status)
    return details(status)[0]


@pytest.fixture(scope="module")
def fuzzed(start_system: Callable[..., System]) -> Iterator[Fuzzed]:
    """Yield the system, with users and tweets to hit."""
    system = start_system()
    with Fanfare(system) as fanfare:
        yield Fuzzed(fanfare)
    system.stop()


def _mostly(usual: st.SearchStrategy[Any], *odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return what is usual three times in four: one_of() takes no weights."""
    return st.integers(0, 3).flatmap(lambda number: usual if number else st.one_of(*odd))


def _values(field: FieldDescriptor, known: Fuzzed) -> st.SearchStrategy[Any]:
    """Return values for one field, of which many are such that the call may succeed."""
    if field.message_type is not None:
        return _messages(field.message_type, known)
    if field.type in INTEGERS:
        whole = st.integers(*INTEGERS[field.type])
        if field.type == FieldDescriptor.TYPE_INT32:  # limit and offset
            return _mostly(st.integers(0, 10), whole)
        ids = st.sampled_from(known.tweets if "tweet" in field.name else known.users)
        return _mostly(ids, whole)
    assert field.type == FieldDescriptor.TYPE_STRING, f"no strategy for {field.full_name}"
    plain = st.from_regex(r"\A[a-z]{1,12}\Z")
    usual = {
        "email": plain.map(lambda name: f"{name}@example.com"),
        "request_id": st.uuids().map(str),
        "page_token": st.just(""),
        "consistency_token": st.just(""),
    }.get(field.name, plain)
    texts = _mostly(usual, st.sampled_from(TEXTS), st.text(max_size=40))
    return st.none() | texts if field.has_presence else texts


def _messages(descriptor: Descriptor, known: Fuzzed) -> st.SearchStrategy[Any]:
    fields = {
        field.name: st.lists(_values(field, known), max_size=6)
        if field.is_repeated
        else _values(field, known)
        for field in descriptor.fields
    }
    return st.builds(GetMessageClass(descriptor), **fields)


def _requests(method: MethodDescriptor, known: Fuzzed) -> st.SearchStrategy[bytes]:
    whole = _messages(method.input_type, known).map(lambda message: message.SerializeToString())
    cut = st.tuples(whole, st.integers(0, 60)).map(lambda pair: pair[0][: pair[1]])
    spliced = st.tuples(whole, st.integers(0, 60), st.binary(min_size=1, max_size=4)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )
    return _mostly(whole, cut, spliced, st.binary(max_size=100))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_no_request_makes_a_service_fail(fuzzed: Fuzzed, method: MethodDescriptor) -> None:
    """Each answer is the contract's: a message, or a refusal with a reason and no internals."""
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=CALLS,
        derandomize="FUZZ_CALLS" not in os.environ,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_requests(method, fuzzed))
    def play(request: bytes) -> None:
        outcomes[fuzzed.call(method, request)] += 1

    play()
    print(f"{method.name}: {outcomes.total()} calls: {dict(outcomes)}")  # noqa: T201
    # Else the strategies miss the method: nothing comes through to it, or nothing is refused.
    assert set(outcomes) - {"MALFORMED_REQUEST", "INVALID_REQUEST"}
    assert set(outcomes) - {"OK"}
