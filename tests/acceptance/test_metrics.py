"""The metrics and the probes of a running system: every process is asked as Prometheus would."""

from __future__ import annotations

import os
import signal
import urllib.error
from collections.abc import Callable, Iterator

import pytest
from fanfare.read.v1 import read_pb2
from helpers.fanfare import Fanfare
from helpers.prometheus import Samples, scrape, value
from helpers.waiting import wait_until

from core.rpc.health_probe import probe
from core.rpc.tls import open_url
from core.runtime.build_info import version
from core.runtime.metrics import Metric
from core.runtime.metrics_ports import metrics_addresses
from ops.system import System

CALLS = 12
READ_SERVICE = "fanfare.read.v1.ReadService"


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with two read processes."""
    own = {"FANFARE_READ_PROCESSES": "2", "FANFARE_SILENCE_SECONDS": "4"}
    with Fanfare(start_system(**own)) as clients:
        yield clients


def _addresses(own: Fanfare) -> list[str]:
    return [address for each in metrics_addresses(own.settings).values() for address in each]


def _status(address: str, path: str) -> int:
    """Return the HTTP status of a probe; 0 if nobody listens."""
    try:
        with open_url(f"http://{address}/{path}", None, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _statuses(own: Fanfare, path: str) -> dict[str, list[int]]:
    return {
        name: [_status(address, path) for address in each]
        for name, each in metrics_addresses(own.settings).items()
    }


def test_every_process_has_metrics(own: Fanfare) -> None:
    """Preforked processes too: each has a port of its own."""
    addresses = metrics_addresses(own.settings)
    assert {name: len(each) for name, each in addresses.items()} == {
        "write": 1,
        "read": 2,
        "worker": 1,
    }
    for address in _addresses(own):
        samples = scrape(address)
        for metric in Metric:
            assert value(samples, "fanfare_events_total", event=metric.value) >= 0
        assert value(samples, "process_start_time_seconds") > 0
        assert value(samples, "fanfare_build_info", version=version(), revision="unknown") == 1
        health = {"grpc_service": "grpc.health.v1.Health", "grpc_method": "Check"}
        assert value(samples, "grpc_server_started_total", grpc_type="unary", **health) >= 0


def test_each_prefork_process_counts_its_own_calls(own: Fanfare) -> None:
    """Over gRPC and over REST: together they have counted every call, and each only its own."""
    reader = own.user()

    def counted(samples: Samples) -> tuple[float, float]:
        method = {"grpc_service": READ_SERVICE, "grpc_method": "GetUser", "grpc_type": "unary"}
        route = {"http_method": "GET", "http_route": "/users/{user_id}"}
        return (
            value(samples, "grpc_server_handled_total", grpc_code="OK", **method),
            value(samples, "http_server_handled_total", http_status="200", **route),
        )

    def total() -> tuple[float, float]:
        each = [counted(scrape(address)) for address in metrics_addresses(own.settings)["read"]]
        return sum(of_grpc for of_grpc, _ in each), sum(of_rest for _, of_rest in each)

    before = total()
    for _ in range(CALLS):
        own.read.GetUser(read_pb2.GetUserRequest(user_id=reader.id))
        assert own.rest("GET", f"/users/{reader.id}")[0] == 200  # each over another connection
    assert total() == (before[0] + CALLS, before[1] + CALLS)


def test_a_process_that_drains_is_live_and_not_ready(own: Fanfare) -> None:
    """Its metrics can be scraped until it ends."""
    write = own.system.processes["write"]
    (address,) = metrics_addresses(own.settings)["write"]
    assert _statuses(own, "readyz") == {"write": [200], "read": [200, 200], "worker": [200]}
    try:
        os.kill(write.pid, signal.SIGTERM)
        wait_until(lambda: _status(address, "readyz") == 503, "it is not ready")
        assert _status(address, "livez") == 200
        assert value(scrape(address), "process_start_time_seconds") > 0
        assert write.wait() == 0
    finally:
        write.start()
    wait_until(lambda: _status(address, "readyz") == 200, "it is ready again")


def test_the_services_are_ready_while_they_can_answer(own: Fanfare) -> None:
    """Without Redis Postgres serves. Without both the read service is not ready; all are live."""
    author, reader = own.cached_pair()
    stack = own.system.stack

    def read_until(condition: Callable[[], bool], what: str) -> None:
        def look() -> bool:
            own.rest("GET", f"/timeline/{reader.id}")  # each over another connection
            return condition()

        wait_until(look, what)

    def redis_is_away(address: str) -> bool:
        return b"Redis does not answer" in _health(address)

    try:
        stack.valkey.kill()
        reads = metrics_addresses(own.settings)["read"]
        read_until(lambda: all(map(redis_is_away, reads)), "both have noticed that Redis is away")
        assert _statuses(own, "readyz") | {"worker": []} == {
            "write": [200],
            "read": [200, 200],
            "worker": [],
        }
        assert probe(own.settings.read_service_target()) is None
        stack.postgres.kill()
        read_until(
            lambda: _statuses(own, "readyz")["read"] == [503, 503], "the reads are not ready"
        )
        wait_until(lambda: _statuses(own, "readyz")["write"] == [503], "nor is the write service")
        assert probe(own.settings.read_service_target()) is not None
        assert probe(own.settings.write_service_target()) is not None
        assert _statuses(own, "livez") == {"write": [200], "read": [200, 200], "worker": [200]}
    finally:
        stack.postgres.start()
        stack.valkey.start()
    ready = {"write": [200], "read": [200, 200], "worker": [200]}
    wait_until(lambda: _statuses(own, "readyz") == ready, "all are ready again")
    own.tweet(author)
    own.wait_drained()
    own.wait_exact(reader)


def _health(address: str) -> bytes:
    try:
        with open_url(f"http://{address}/health", None, timeout=10) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()
