"""Health while servers are away: who says that work stands still, and who goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from core.rpc.health_probe import probe
from ops.system import System
from write_service.relay import HEALTH_NAME

# After how long processes give up a silent connection, which is when they notice; 20 by default.
SILENCE_SECONDS = 4
NOTICED_SECONDS = 120.0


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose servers are killed."""
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


def test_without_kafka_the_worker_and_the_relay_say_that_they_stand_still(own: Fanfare) -> None:
    """The services serve on: commands wait in the outbox, and timelines can be read."""
    bob, alice = own.cached_pair()
    wait_until(lambda: _worker_serves(own) and _relay_serves(own), "all serve before")
    own.system.stack.kafka.kill()
    try:
        own.tweet(bob)
        wait_until(lambda: not _worker_serves(own), "the worker says so", NOTICED_SECONDS)
        wait_until(lambda: not _relay_serves(own), "the relay says so", NOTICED_SECONDS)
        wait_until(lambda: _services_serve(own), "the services serve on")
    finally:
        own.system.stack.kafka.start()
    wait_until(lambda: _relay_serves(own), "the relay works again", NOTICED_SECONDS)
    wait_until(lambda: _worker_serves(own), "the worker works again", NOTICED_SECONDS)
    own.wait_drained()
    own.wait_exact(alice)


@pytest.mark.parametrize("server", ["valkey", "postgres"])
def test_without_what_it_needs_for_a_tweet_the_worker_says_so(own: Fanfare, server: str) -> None:
    """And serves again as soon as it has applied what waits."""
    bob, alice = own.cached_pair()
    process = getattr(own.system.stack, server)
    worker = own.system.processes["worker"]
    if server == "postgres":
        # An author whom the worker does not know yet, and an event that waits in Kafka for it.
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
        wait_until(lambda: not _worker_serves(own), "the worker says so", NOTICED_SECONDS)
    finally:
        process.start()
    wait_until(lambda: _worker_serves(own), "the worker works again", NOTICED_SECONDS)
    own.wait_drained()
    own.wait_exact(alice)
