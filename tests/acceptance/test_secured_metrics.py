"""The metrics of a system with authentication, TLS and a replica."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from helpers.fanfare import Fanfare
from helpers.metrics_table import PROCESSES
from helpers.people import People
from helpers.prometheus import Samples, scrape, value
from helpers.waiting import wait_until

from core.rpc.tls import open_channel
from core.runtime.metrics_ports import metrics_addresses
from ops.system import System

LAG = "fanfare_replica_lag_seconds"


@pytest.fixture(scope="module")
def people(start_system: Callable[..., System]) -> Iterator[People]:
    """Yield the people of a separate system."""
    system = start_system(auth=True, replica=True, FANFARE_TRUSTED_PROXIES="127.0.0.1")
    target = system.settings.write_service_target()
    with Fanfare(system) as fanfare, open_channel(target, system.settings.tls_dir) as channel:
        yield People(fanfare, AuthServiceStub(channel))


def _scrape(people: People, process: str) -> Samples:
    settings = people.fanfare.settings
    return scrape(metrics_addresses(settings)[process][0], settings.tls_dir)


def test_sign_ins_and_refused_calls_are_counted(people: People) -> None:
    """Sessions, failures to get one, and calls above a limit; by address, as nobody is known."""
    credentials = {"username": "nobody_at_all", "password": "guess"}
    people.person()
    # More calls than two minutes allow, because a minute may end in between.
    answers = [
        people.fanfare.rest("POST", "/sessions", credentials, forwarded="203.0.113.9")[0]
        for _ in range(130)
    ]
    samples = _scrape(people, "write")
    assert value(samples, "fanfare_sessions_created_total") >= 1
    assert value(samples, "fanfare_sign_in_failures_total") == answers.count(401)
    refused = "fanfare_rate_limited_calls_total"
    assert value(samples, refused, limit="address") == answers.count(429) > 0
    assert value(samples, refused, limit="user") == value(samples, refused, limit="cost") == 0
    assert value(samples, "fanfare_redis_up") == 1


@pytest.mark.parametrize("process", PROCESSES)
def test_the_end_of_the_certificate_is_exported(people: People, process: str) -> None:
    """By each process, since each may have another one."""

    def ends() -> float:
        name = "fanfare_certificate_expiry_timestamp_seconds"
        return value(_scrape(people, process), name, file="tls")

    wait_until(lambda: ends() > time.time(), "the end of the certificate is known")


def test_the_lag_of_the_replica_grows_while_it_replays_nothing(people: People) -> None:
    """It is that of the relay's heartbeat, so it grows without commands too."""
    settings = people.fanfare.settings
    wait_until(lambda: value(_scrape(people, "read"), LAG) >= 0, "the lag is known")
    with psycopg.connect(settings.replica_dsn(), autocommit=True) as replica:
        replica.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: value(_scrape(people, "read"), LAG) > 3, "the replica lags")
        replica.execute("SELECT pg_wal_replay_resume()")
    wait_until(lambda: value(_scrape(people, "read"), LAG) < 3, "the replica has caught up")
    idle = {"pool": "replica", "state": "idle"}
    assert value(_scrape(people, "read"), "fanfare_postgres_connections", **idle) >= 0
