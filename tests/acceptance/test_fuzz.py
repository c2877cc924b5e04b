"""Every RPC and REST path under random requests: valid ones, broken ones, and plain garbage.

The strategies are made from the contract's descriptors, so a new RPC is fuzzed without a line here.
`FUZZ_CALLS=2000 pytest tests/acceptance/test_fuzz.py` makes so many calls of each RPC, path and
port, 110,000 in all, each time others; by default they are few and the same ones.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import grpc
import pytest
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Fanfare, details

from cli.system import System
from core.health_probe import probe
from gateway.routes import Route, routes

CALLS = int(os.environ.get("FUZZ_CALLS", "60"))
SERVICES = {
    "write_port": write_pb2.DESCRIPTOR.services_by_name["WriteService"],
    "read_port": read_pb2.DESCRIPTOR.services_by_name["ReadService"],
}
METHODS = [method for service in SERVICES.values() for method in service.methods]
ROUTES = [
    (route, f"rest_{port}") for port, service in SERVICES.items() for route in routes(service)
]
SETTINGS = settings(
    max_examples=CALLS,
    derandomize="FUZZ_CALLS" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
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
# Pools, caches and the allocator's arenas are filled by the first calls.
GROWTH_MIB = 100
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
        self._fanfare = fanfare
        self.settings = fanfare.settings
        self.processes = fanfare.system.processes
        self.users: list[int] = []
        self.tweets: list[int] = []
        self.refill()
        self.resident = {name: _resident(p.pid) for name, p in self.processes.items()}
        self.channels = {
            service.full_name: grpc.insecure_channel(f"127.0.0.1:{getattr(fanfare.settings, port)}")
            for port, service in SERVICES.items()
        }

    def refill(self) -> None:
        """Have users who follow each other, and a tweet of each, to be found and deleted."""
        self.users = [
            id_
            for (id_,) in self._fanfare.sql(
                "INSERT INTO users (username)"
                " SELECT left(gen_random_uuid()::text, 8) || n FROM generate_series(1, 20) AS n"
                " RETURNING id"
            )
        ]
        self._fanfare.sql(
            "INSERT INTO follows (follower_id, followed_id)"
            " SELECT a, b FROM unnest(%s::bigint[]) AS a, unnest(%s::bigint[]) AS b WHERE a < b",
            self.users,
            self.users,
        )
        items = [write_pb2.CreateTweetRequest(user_id=id_, content="hello") for id_ in self.users]
        batch = write_pb2.BatchCreateTweetsRequest(requests=items)
        created = self._fanfare.write.BatchCreateTweets(batch).results
        self.tweets = [result.tweet.id for result in created]

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


def _json(descriptor: Descriptor, known: Fuzzed) -> st.SearchStrategy[Any]:
    """Return bodies for REST: the message, the message with odd parts, and other JSON."""
    message = _messages(descriptor, known).map(
        lambda made: json_format.MessageToDict(made, preserving_proto_field_name=True)
    )
    names = [field.name for field in descriptor.fields] or ["name"]
    odd = st.dictionaries(
        st.sampled_from([*names, "unknown", ""]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(TEXTS),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=3,
    )
    mixed = st.tuples(message, odd).map(lambda pair: pair[0] | pair[1])
    return _mostly(message, mixed, odd, st.just([1]), st.just("text"))


def _rest_requests(route: Route, known: Fuzzed) -> st.SearchStrategy[tuple[str, bytes | None]]:
    """Return paths with their queries, and bodies."""
    descriptor = route.method.input_type
    fields = {field.name: field for field in descriptor.fields}
    parts = {
        name: _values(fields[name], known).map(lambda value: quote(str(value), safe=""))
        for name in route.variables
    }
    path = st.fixed_dictionaries(parts).map(lambda values: route.path.format(**values))
    if route.has_body:
        body = _json(descriptor, known).map(lambda document: json.dumps(document).encode())
        return st.tuples(path, _mostly(body, st.binary(max_size=50)))
    pairs = st.lists(
        st.tuples(st.sampled_from([*fields, "unknown"]), st.sampled_from([*TEXTS, "7", "-1"])),
        max_size=2,
    )
    return st.tuples(path, pairs).map(
        lambda drawn: (drawn[0] + ("?" + urlencode(drawn[1]) if drawn[1] else ""), None)
    )


def _fetch(port: int, verb: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(verb, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("route", "port"),
    ROUTES,
    ids=lambda value: f"{value.verb}-{value.method.name}" if isinstance(value, Route) else "",
)
def test_no_rest_request_makes_the_gateway_fail(fuzzed: Fuzzed, route: Route, port: str) -> None:
    """Each answer is JSON: the message, or a status that tells no internals; never a 5xx."""
    fuzzed.refill()
    outcomes: Counter[int] = Counter()

    @SETTINGS
    @given(_rest_requests(route, fuzzed))
    def play(request: tuple[str, bytes | None]) -> None:
        status, text = _fetch(getattr(fuzzed.settings, port), route.verb, *request)
        outcomes[status] += 1
        assert status < 500, text
        if status >= 400:
            told = json.loads(text)
            assert told["details"], told
            assert not [word for word in INTERNALS if word in told["message"]], told
        else:
            assert not text or isinstance(json.loads(text), dict)

    play()
    if route.method.name == "GetAccount":
        return  # there are no accounts without authentication
    print(f"{route.verb} {route.path}: {outcomes.total()} requests: {dict(outcomes)}")  # noqa: T201
    # Else the strategies miss the path.
    assert set(outcomes) & {200, 201, 204, 404}


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
FRAMES = st.tuples(
    st.integers(0, 100), st.integers(0, 12), st.integers(0, 255), st.integers(0, 2**32 - 1)
).flatmap(
    lambda head: st.binary(max_size=100).map(
        lambda body: (
            head[0].to_bytes(3, "big") + bytes(head[1:3]) + head[3].to_bytes(4, "big") + body
        )
    )
)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("port", ["write_port", "read_port", "rest_write_port", "rest_read_port"])
def test_garbage_on_a_port_does_no_harm(fuzzed: Fuzzed, port: str) -> None:
    """Plain bytes, and frames of HTTP/2 that no client sends; the server goes on serving others."""
    number = getattr(fuzzed.settings, port)

    @SETTINGS
    @given(
        st.one_of(
            st.binary(max_size=500),
            st.lists(FRAMES, max_size=8).map(lambda f: PREFACE + SETTINGS_FRAME + b"".join(f)),
            st.binary(max_size=100).map(lambda end: b"GET / HTTP/1.1\r\n" + end),
        )
    )
    def play(garbage: bytes) -> None:
        with socket.create_connection(("127.0.0.1", number), timeout=20) as connection:
            connection.sendall(garbage)

    play()
    if port.startswith("rest"):
        assert _fetch(number, "GET", "/health", None)[0] == 200
    else:
        assert probe(f"127.0.0.1:{number}") is None


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_no_request_makes_a_service_fail(fuzzed: Fuzzed, method: MethodDescriptor) -> None:
    """Each answer is the contract's: a message, or a refusal with a reason and no internals."""
    fuzzed.refill()
    outcomes: Counter[str] = Counter()

    @SETTINGS
    @given(_requests(method, fuzzed))
    def play(request: bytes) -> None:
        outcomes[fuzzed.call(method, request)] += 1

    play()
    print(f"{method.name}: {outcomes.total()} calls: {dict(outcomes)}")  # noqa: T201
    # Else the strategies miss the method: nothing comes through to it, or nothing is refused.
    assert set(outcomes) - {"MALFORMED_REQUEST", "INVALID_REQUEST"}
    assert set(outcomes) - {"OK"}


def test_what_was_fuzzed_has_not_grown(fuzzed: Fuzzed) -> None:
    """No process has kept what it was sent."""
    grown = {
        name: _resident(process.pid) - fuzzed.resident[name]
        for name, process in fuzzed.processes.items()
        if name != "worker"
    }
    print(f"MiB of growth: {grown}")  # noqa: T201
    assert max(grown.values()) < GROWTH_MIB


def _resident(pid: int) -> int:
    """Return the memory of a process, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20
