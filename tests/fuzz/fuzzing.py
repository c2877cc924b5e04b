"""Random requests, drawn from the contract's descriptors, and callers that send them.

A new RPC is fuzzed without a change here.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import grpc
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from helpers.fanfare import Fanfare
from helpers.grpc_client import details
from helpers.leaks import SECRET
from hypothesis import strategies as st

from core.auth.access_tokens import Caller, Signer
from core.auth.addresses import FORWARDED_KEY
from gateway.routes import Route, routes

SERVICES = [
    (write_pb2.DESCRIPTOR.services_by_name["WriteService"], "write_port"),
    (auth_pb2.DESCRIPTOR.services_by_name["AuthService"], "write_port"),
    (read_pb2.DESCRIPTOR.services_by_name["ReadService"], "read_port"),
]
METHODS = [method for service, _ in SERVICES for method in service.methods]
ROUTES = [(route, f"rest_{port}") for service, port in SERVICES for route in routes(service)]
# The errors that a caller can cause. Calls come one by one, so no deadline may be exceeded.
REFUSALS = {
    code.value[0]
    for code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        # Users may make only a few calls a minute of some methods.
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
}
INTERNALS = ("Traceback", "psycopg", "SELECT", "redis", "Exception", ".py")

_INTEGERS = {
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
}
_TEXTS = [
    *("", "a", "alice_1", "a@example.org", "9f1c4e0a-53f5-4a8e-b0a6-3f4f6a3f9a11", "x" * 300),
    *("\0", "\u202e", "e\u0301" * 200, "\U0001f600" * 100, "'; DROP TABLE users; --", "%s%(a)s"),
]
_USERS = 20
# Far longer than any call takes, since the machine may be busy.
CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Sender:
    """A caller: the headers to send, and values that its requests may contain."""

    headers: dict[str, str]
    users: list[int]
    """Ids; many of them the caller's own."""
    tweets: list[int]
    """Ids; many of them of the caller's own tweets."""
    names: list[str]
    """Names of users whose password is SECRET."""
    refresh_tokens: list[str]


class Fuzzed:
    """A system with authentication for these tests only, which delete users and tweets."""

    def __init__(self, fanfare: Fanfare, keys: Path) -> None:
        self._fanfare = fanfare
        self._signer = Signer(keys)
        self._addresses = itertools.count(int(ipaddress.ip_address("10.0.0.1")))
        self.settings = fanfare.settings
        self.processes = fanfare.system.processes
        self._channels = {
            service.full_name: grpc.insecure_channel(f"127.0.0.1:{getattr(self.settings, port)}")
            for service, port in SERVICES
        }
        request = write_pb2.CreateUserRequest(
            username="first", email="first@example.com", password=SECRET
        )
        fanfare.write.CreateUser(request)
        self._users: list[int] = []
        self._tweets: list[int] = []
        self._names: list[str] = []
        self._refresh_tokens = [str(uuid.UUID(int=number)) for number in range(_USERS)]
        self._next_session = itertools.cycle(range(_USERS))
        self.refill()
        self._resident = self._memory()

    def refill(self) -> None:
        """Create users with follows and tweets, for requests to find and delete."""
        rows = self._fanfare.sql(
            "INSERT INTO users (username, email, password_hash)"
            " SELECT name, name || '@example.com', password_hash FROM users, (SELECT"
            " left(gen_random_uuid()::text, 8) || n AS name FROM generate_series(1, %s) AS n)"
            " WHERE username = 'first' RETURNING id, username",
            _USERS,
        )
        self._users = [id_ for id_, _ in rows]
        self._names = [name for _, name in rows]
        self._fanfare.sql(
            "INSERT INTO follows (follower_id, followed_id)"
            " SELECT a, b FROM unnest(%s::bigint[]) AS a, unnest(%s::bigint[]) AS b WHERE a < b",
            self._users,
            self._users,
        )
        items = [write_pb2.CreateTweetRequest(user_id=id_, content="hello") for id_ in self._users]
        batch = write_pb2.BatchCreateTweetsRequest(requests=items)
        headers = tuple(self._headers(Caller(service="filler")).items())
        created = self._fanfare.write.BatchCreateTweets(batch, metadata=headers).results
        self._tweets = [result.tweet.id for result in created]

    def senders(self) -> st.SearchStrategy[Sender]:
        """Return callers: mostly users, and services, administrators, forgers, and none at all."""
        kinds = ["user", "user", "user", "user", "service", "admin", "forger", "nobody"]
        return st.builds(self._sender, st.integers(0, _USERS - 1), st.sampled_from(kinds))

    def _sender(self, number: int, kind: str) -> Sender:
        user, tweet = self._users[number], self._tweets[number]
        caller = (
            Caller(service="fuzz") if kind == "service" else Caller(user, admin=kind == "admin")
        )
        headers = self._headers(caller)
        if kind == "nobody":
            del headers["authorization"]
        elif kind == "forger":
            headers["authorization"] = headers["authorization"][:-9] + "forgedAAA"
        return Sender(
            headers,
            [user] * _USERS + self._users,
            [tweet] * _USERS + self._tweets,
            self._names,
            self._refresh_tokens,
        )

    def _headers(self, caller: Caller) -> dict[str, str]:
        # Each call comes from another address, since addresses have rate limits, too.
        return {
            "authorization": f"Bearer {self._signer.sign(caller)[0]}",
            FORWARDED_KEY: str(ipaddress.ip_address(next(self._addresses))),
        }

    def call(self, method: MethodDescriptor, request: bytes, headers: dict[str, str]) -> str:
        """Make the call; return "OK", or the reason of an error that the caller can cause."""
        service = method.containing_service.full_name
        path = f"/{service}/{method.name}"
        sent: dict[str, Any] = {"timeout": CALL_SECONDS, "metadata": tuple(headers.items())}
        channel: Any = self._channels[service]
        try:
            if method.server_streaming:
                # It goes on until it is cancelled.
                stream = channel.unary_stream(path)(request, **sent)
                answer = next(stream)
                stream.cancel()
            else:
                answer = channel.unary_unary(path)(request, **sent)
        except grpc.RpcError as error:
            return _refusal(error)
        message = GetMessageClass(method.output_type).FromString(answer)
        if isinstance(message, (auth_pb2.CreateSessionResponse, auth_pb2.RefreshSessionResponse)):
            self._refresh_tokens[next(self._next_session)] = message.session.refresh_token
        return "OK"

    def growth_mib(self) -> dict[str, int]:
        """Return by how many MiB each process has grown since the start, without the worker."""
        return {name: now - self._resident[name] for name, now in self._memory().items()}

    def _memory(self) -> dict[str, int]:
        return {
            name: _resident_mib(process.pid)
            for name, process in self.processes.items()
            if name != "worker"
        }


def _resident_mib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _refusal(error: grpc.RpcError) -> str:
    """Return the reason of an error; fail the test if a caller must not get it."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, f"no details: {error}"
    assert status.code in REFUSALS, str(status)
    assert not [word for word in INTERNALS if word in status.message], str(status)
    reason = details(status)[0]
    assert reason != "OVERLOADED", str(status)
    return reason


def mostly(usual: st.SearchStrategy[Any], *odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return the usual strategy seven times in eight, since one_of() takes no weights."""
    return st.integers(0, 7).flatmap(lambda number: usual if number else st.one_of(*odd))


def _values(field: FieldDescriptor, sender: Sender) -> st.SearchStrategy[Any]:
    """Return values for a field, many of which let the call succeed."""
    if field.message_type is not None:
        return _messages(field.message_type, sender)
    if field.type in _INTEGERS:
        whole = st.integers(*_INTEGERS[field.type])
        if field.type == FieldDescriptor.TYPE_INT32:  # limit and offset
            return mostly(st.integers(0, 10), whole)
        ids = st.sampled_from(sender.tweets if "tweet" in field.name else sender.users)
        return mostly(ids, whole)
    assert field.type == FieldDescriptor.TYPE_STRING, f"no strategy for {field.full_name}"
    plain = st.from_regex(r"\A[a-z]{1,12}\Z")
    usual = {
        "email": plain.map(lambda name: f"{name}@example.com"),
        "request_id": st.uuids().map(str),
        "page_token": st.just(""),
        "resume_token": st.just(""),
        "consistency_token": st.just(""),
        "username": plain | st.sampled_from(sender.names),
        "password": st.just(SECRET),
        "current_password": st.just(SECRET),
        "refresh_token": st.sampled_from(sender.refresh_tokens),
    }.get(field.name, plain)
    texts = mostly(usual, st.sampled_from(_TEXTS), st.text(max_size=40))
    return st.none() | texts if field.has_presence else texts


def _messages(descriptor: Descriptor, sender: Sender) -> st.SearchStrategy[Any]:
    fields = {
        field.name: st.lists(_values(field, sender), max_size=6)
        if field.is_repeated
        else _values(field, sender)
        for field in descriptor.fields
    }
    return st.builds(GetMessageClass(descriptor), **fields)


def requests(method: MethodDescriptor, sender: Sender) -> st.SearchStrategy[bytes]:
    """Return requests of a method as bytes, most of them valid messages."""
    whole = _messages(method.input_type, sender).map(lambda message: message.SerializeToString())
    cut = st.tuples(whole, st.integers(0, 60)).map(lambda pair: pair[0][: pair[1]])
    spliced = st.tuples(whole, st.integers(0, 60), st.binary(min_size=1, max_size=4)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )
    return mostly(whole, cut, spliced, st.binary(max_size=100))


def _json(
    descriptor: Descriptor, sender: Sender, in_path: Collection[str]
) -> st.SearchStrategy[Any]:
    """Return bodies for REST: the message, the message with odd fields, and other JSON."""
    whole = _messages(descriptor, sender).map(
        lambda made: json_format.MessageToDict(made, preserving_proto_field_name=True)
    )
    message = mostly(
        whole.map(lambda made: {name: made[name] for name in made if name not in in_path}),
        whole,
    )
    names = [field.name for field in descriptor.fields] or ["name"]
    odd = st.dictionaries(
        st.sampled_from([*names, "unknown", ""]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(_TEXTS),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=3,
    )
    mixed = st.tuples(message, odd).map(lambda pair: pair[0] | pair[1])
    return mostly(message, mixed, odd, st.just([1]), st.just("text"))


def rest_requests(route: Route, sender: Sender) -> st.SearchStrategy[tuple[str, bytes | None]]:
    """Return pairs of a path with its query, and a body."""
    descriptor = route.method.input_type
    fields = {field.name: field for field in descriptor.fields}
    parts = {
        name: _values(fields[name], sender).map(lambda value: quote(str(value), safe=""))
        for name in route.variables
    }
    path = st.fixed_dictionaries(parts).map(lambda values: route.path.format(**values))
    if route.has_body:
        body = _json(descriptor, sender, parts).map(lambda document: json.dumps(document).encode())
        return st.tuples(path, mostly(body, st.binary(max_size=50)))
    pairs = st.lists(
        st.tuples(st.sampled_from([*fields, "unknown"]), st.sampled_from([*_TEXTS, "7", "-1"])),
        max_size=2,
    )
    return st.tuples(path, pairs).map(
        lambda drawn: (drawn[0] + ("?" + urlencode(drawn[1]) if drawn[1] else ""), None)
    )
