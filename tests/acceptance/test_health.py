"""Health while servers are down: which processes become NOT_SERVING and which do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from core.rpc.health_probe import probe
from ops.system import System
from write_service.relay import HEALTH_NAME

# Processes notice that a server is gone when they give up a silent connection, after this time. The
# default is 20.
SILENCE_SECONDS = 4
NOTICED_SECONDS = 120.0


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose servers may be killed."""
    with Fanfare(start_system(FANFARE_SILENCE_SECONDS=str(SILENCE_SECONDS))) as clients:
        yield clients


def _worker_serves(own: Fanfare) -> bool:
    return probe(f"127.0.0.1:{own.settings.worker_port}") is None


def _relay_serves(own: Fanfare) -> bool:
    return probe(own.settings.write_service_target(), HEALTH_NAME) is None


def _services_serve(own: Fanfare) -> bool:
    settings = own.settings
    targets = settings.write_service_target(), settings.read_service_target()
    return all(probe(target) is None for target in targets)


def test_without_kafka_the_worker_and_the_relay_are_not_serving(own: Fanfare) -> None:
    """Both services keep serving: events wait in the outbox, and timelines can be read."""
    bob, alice = own.cached_pair()
    wait_until(lambda: _worker_serves(own) and _relay_serves(own), "both serve at first")
    own.system.stack.kafka.kill()
    try:
        own.tweet(bob)
        wait_until(lambda: not _worker_serves(own), "the worker is NOT_SERVING", NOTICED_SECONDS)
        wait_until(lambda: not _relay_serves(own), "the relay is NOT_SERVING", NOTICED_SECONDS)
        wait_until(lambda: _services_serve(own), "the services serve")
    finally:
        own.system.stack.kafka.start()
    wait_until(lambda: _relay_serves(own), "the relay serves again", NOTICED_SECONDS)
    wait_until(lambda: _worker_serves(own), "the worker serves again", NOTICED_SECONDS)
    own.wait_drained()
    own.wait_exact(alice)


@pytest.mark.parametrize("server", ["valkey", "postgres"])
def test_without_redis_or_postgres_the_worker_is_not_serving(own: Fanfare, server: str) -> None:
    """The worker serves again once it has applied the waiting events."""
    bob, alice = own.cached_pair()
    process = getattr(own.system.stack, server)
    worker = own.system.processes["worker"]
    if server == "postgres":
        # An author unknown to the worker, which must ask Postgres to apply the author's event.
        bob = own.user()
        own.follow(alice, bob)
        own.wait_drained()
        worker.stop()
        own.tweet(bob)
        own.wait_sent()
    process.kill()
    try:
        if server == "postgres":
            worker.start()
        wait_until(lambda: not _worker_serves(own), "the worker is NOT_SERVING", NOTICED_SECONDS)
    finally:
        process.start()
    wait_until(lambda: _worker_serves(own), "the worker serves again", NOTICED_SECONDS)
    own.wait_drained()
    own.wait_exact(alice)
