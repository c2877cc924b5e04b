"""Every RPC and REST path gets random requests: valid ones, broken ones, and garbage.

By default each gets a few, always the same. `FUZZ_CALLS=1100 pytest tests/fuzz` sends 1,100 random
ones to each RPC, path and port, 100,000 in all.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from fuzz.fuzzing import (
    CALL_SECONDS,
    INTERNALS,
    METHODS,
    ROUTES,
    Fuzzed,
    Sender,
    requests,
    rest_requests,
)
from google.protobuf.descriptor import MethodDescriptor
from helpers.fanfare import Fanfare
from helpers.http2 import START, opening
from helpers.waiting import wait_until
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)

from core.auth.access_tokens import create_key
from core.rpc.health_probe import probe
from gateway.routes import Route
from gateway.server_sent_events import CONTENT_TYPE
from ops.system import System

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
CALLS = int(os.environ.get("FUZZ_CALLS", "30"))
NATIVE_CALLS = 8
# Few requests of some methods are right, and what is drawn also depends on the modules that are
# loaded: Hypothesis draws their constants.
MAX_ROUNDS = 20
SETTINGS = settings(
    max_examples=CALLS,
    derandomize="FUZZ_CALLS" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FIRST_SEED = 0 if SETTINGS.derandomize else random.randrange(2**32)
# The first calls fill pools, caches and the arenas of the allocator.
GROWTH_MIB = 100
REFUSED_EARLY = {
    *("MALFORMED_REQUEST", "INVALID_REQUEST"),
    *("UNAUTHENTICATED", "PERMISSION_DENIED", "RATE_LIMITED"),
}
HEADERS = {"Content-Type": "application/json"}
SENT: Counter[str] = Counter()

schema = schemathesis.openapi.from_dict(yaml.safe_load(DOCUMENT.read_text()))
# schemathesis reads answers to their end, which a stream does not have.
answering = schema.exclude(path_regex="/stream$")


@pytest.fixture(scope="module")
def fuzzed(
    start_system: Callable[..., System], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fuzzed]:
    """Yield a system with authentication that trusts X-Forwarded-For."""
    with _fuzzed(start_system, tmp_path_factory.mktemp("keys")) as fuzzed:
        yield fuzzed


@pytest.fixture(scope="module")
def natively_fuzzed(
    start_system: Callable[..., System], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fuzzed]:
    """Yield another such system, with the native gRPC server."""
    keys = tmp_path_factory.mktemp("keys")
    with _fuzzed(start_system, keys, FANFARE_GRPC_SERVER="native") as fuzzed:
        yield fuzzed


@contextmanager
def _fuzzed(
    start_system: Callable[..., System], keys: Path, **environment: str
) -> Iterator[Fuzzed]:
    create_key(keys)
    proxies = "127.0.0.0/8"
    system = start_system(
        FANFARE_AUTH_KEYS=str(keys), FANFARE_TRUSTED_PROXIES=proxies, **environment
    )
    with Fanfare(system) as fanfare:
        yield Fuzzed(fanfare, keys)
    system.stop()


@pytest.fixture
def filled(fuzzed: Fuzzed) -> Fuzzed:
    """Return the system with users and tweets that no earlier test has deleted."""
    fuzzed.refill()
    return fuzzed


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_no_request_makes_a_service_fail(filled: Fuzzed, method: MethodDescriptor) -> None:
    """Each answer is a message, or an error with a reason of the contract and no internals."""
    outcomes: Counter[str] = Counter()
    for round_ in range(MAX_ROUNDS):
        outcomes += _call(filled, method, SETTINGS, round_)
        reached = set(outcomes) - REFUSED_EARLY
        # An empty request of anybody may be right every time.
        refused = set(outcomes) - {"OK"} or not method.input_type.fields
        if reached and refused:
            return
    pytest.fail(f"useless requests: none reaches the method, or none is refused: {outcomes}")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_no_request_makes_the_native_server_fail(
    natively_fuzzed: Fuzzed, method: MethodDescriptor
) -> None:
    """A few requests of each method. FANFARE_GRPC_SERVER=native sends it all the others too."""
    natively_fuzzed.refill()
    assert _call(natively_fuzzed, method, settings(SETTINGS, max_examples=NATIVE_CALLS))


def _call(
    fuzzed: Fuzzed, method: MethodDescriptor, config: settings, round_: int = 0
) -> Counter[str]:
    """Make random calls of a method, others in each round; return how many had each outcome."""
    outcomes: Counter[str] = Counter()

    @seed(FIRST_SEED + round_)
    @config
    @given(st.data(), fuzzed.senders())
    def play(data: st.DataObject, sender: Sender) -> None:
        SENT["calls"] += 1
        outcomes[fuzzed.call(method, data.draw(requests(method, sender)), sender.headers)] += 1

    play()
    print(f"{method.name}: {outcomes.total()} calls: {dict(outcomes)}")  # noqa: T201
    return outcomes


def _fetch(
    port: int, verb: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
    try:
        connection.request(verb, path, body, headers if body is None else headers | HEADERS)
        answer = connection.getresponse()
        if answer.getheader("Content-Type") == CONTENT_TYPE:
            assert answer.readline().startswith(b"retry: ")
            return answer.status, b""
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("route", "port"),
    ROUTES,
    ids=lambda value: f"{value.verb}-{value.method.name}" if isinstance(value, Route) else "",
)
def test_no_rest_request_makes_a_service_fail(filled: Fuzzed, route: Route, port: str) -> None:
    """Each answer is JSON, a message or an error without internals, and never a 5xx."""
    outcomes: Counter[str] = Counter()
    for round_ in range(MAX_ROUNDS):
        outcomes += _request(filled, route, getattr(filled.settings, port), round_)
        if set(outcomes) - REFUSED_EARLY:
            return
    pytest.fail(f"useless requests: none reaches the method: {outcomes}")


def _request(filled: Fuzzed, route: Route, port: int, round_: int) -> Counter[str]:
    """Make random requests, others in each round; return how many had each outcome."""
    outcomes: Counter[str] = Counter()

    @seed(FIRST_SEED + round_)
    @SETTINGS
    @given(st.data(), filled.senders())
    def play(data: st.DataObject, sender: Sender) -> None:
        path, body = data.draw(rest_requests(route, sender))
        SENT["REST requests"] += 1
        status, text = _fetch(port, route.verb, path, body, sender.headers)
        assert status < 500, text
        told = json.loads(text or "{}")
        outcome = told["details"][0]["reason"] if status >= 400 else "OK"
        outcomes[outcome] += 1
        # Calls come one by one, so nothing can be overloaded.
        assert outcome != "OVERLOADED", told
        if status >= 400:
            assert not [word for word in INTERNALS if word in told["message"]], told

    play()
    print(f"{route.verb} {route.path}: {outcomes.total()} requests: {dict(outcomes)}")  # noqa: T201
    return outcomes


@pytest.mark.timeout(3600)
@answering.parametrize()
@SETTINGS
@answering.given(data=st.data())
def test_rest_answers_match_the_openapi_document(
    case: schemathesis.Case[Any], data: st.DataObject, filled: Fuzzed
) -> None:
    """Statuses, content types and all fields of answers to requests by schemathesis."""
    sender = data.draw(filled.senders())
    if isinstance(case.body, dict):
        case.body = _existing(case.body, sender)
    case.path_parameters = _existing(case.path_parameters, sender)
    case.query = _existing(case.query, sender)
    SENT["requests of schemathesis"] += 1
    is_query = case.operation.definition.raw["tags"] == ["ReadService"]
    ports = filled.settings
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{ports.rest_read_port if is_query else ports.rest_write_port}",
        headers=sender.headers,
        checks=[
            not_a_server_error,
            content_type_conformance,
            response_schema_conformance,
        ],
        timeout=CALL_SECONDS,
    )


def _existing(values: dict[str, Any], sender: Sender) -> dict[str, Any]:
    """Return the values with what the document cannot describe: existing ids, printable text."""
    brought: dict[str, Any] = {}
    for name, value in values.items():
        known = sender.tweets if name == "tweet_id" else sender.users
        if name in {"page_token", "consistency_token", "resume_token"}:
            continue  # opaque, so a random one is always wrong
        if name.endswith("_id") and str(value).isdecimal():
            brought[name] = known[int(value) % len(known)]
        elif name == "offset" and isinstance(value, int):
            brought[name] = value % 10
        elif isinstance(value, str):
            brought[name] = "".join(filter(str.isprintable, value))
        else:
            brought[name] = value
    return brought


NAMES = st.sampled_from([b"authorization", b"grpc-timeout", b"grpc-encoding", b"x"])
FRAMES = st.tuples(
    st.integers(0, 100), st.integers(0, 12), st.integers(0, 255), st.integers(0, 2**32 - 1)
).flatmap(
    lambda head: st.binary(max_size=100).map(
        lambda body: (
            head[0].to_bytes(3, "big") + bytes(head[1:3]) + head[3].to_bytes(4, "big") + body
        )
    )
)


def _send(port: int, garbage: bytes) -> None:
    def is_sent() -> bool:
        # Some garbage makes grpc close the port, which the service then opens again.
        with suppress(ConnectionError):
            with socket.create_connection(("127.0.0.1", port), timeout=CALL_SECONDS) as connection:
                connection.sendall(garbage)
            return True
        return False

    wait_until(is_sent, "the garbage is sent")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("port", ["write_port", "read_port", "rest_write_port", "rest_read_port"])
def test_garbage_on_a_port_does_no_harm(fuzzed: Fuzzed, port: str) -> None:
    """After random bytes and random HTTP/2 frames, the server still serves others."""
    number = getattr(fuzzed.settings, port)

    @SETTINGS
    @given(
        st.one_of(
            st.binary(max_size=500),
            st.lists(FRAMES, max_size=8).map(lambda f: START + b"".join(f)),
            st.builds(opening, st.binary(max_size=126), st.tuples(NAMES, st.binary(max_size=126))),
            st.binary(max_size=100).map(lambda end: b"GET / HTTP/1.1\r\n" + end),
        )
    )
    def play(garbage: bytes) -> None:
        _send(number, garbage)
        SENT["lots of garbage"] += 1

    play()
    if port.startswith("rest"):
        assert _fetch(number, "GET", "/health", None, {})[0] == 200
    else:
        wait_until(lambda: probe(f"127.0.0.1:{number}") is None, "the service is SERVING")


def test_no_process_has_grown(fuzzed: Fuzzed) -> None:
    """No process keeps what it was sent in memory."""
    grown = fuzzed.growth_mib()
    print(f"{SENT.total()} sent: {dict(SENT)}; MiB of growth: {grown}")  # noqa: T201
    assert max(grown.values()) < GROWTH_MIB
