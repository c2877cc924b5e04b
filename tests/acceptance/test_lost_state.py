"""Redis and Kafka that lost what they knew, and workers that woke too late."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Fanfare, ids, wait_until

from cli.migrate import migrate
from cli.system import System
from core.timeline import home_list


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose servers may lose their data."""
    with Fanfare(start_system()) as clients:
        yield clients


def _folder(clients: Fanfare, server: str) -> Path:
    return clients.settings.state_dir / server / "data"


def test_an_older_copy_of_redis_is_brought_forward(own: Fanfare, tmp_path: Path) -> None:
    """A failover to a lagging copy: the worker seeks back and applies the difference again."""
    bob, carol = own.user(), own.user()
    alice, dave = own.user(bob), own.user(bob, carol)
    own.tweets(bob, 5)
    own.wait_drained()
    own.wait_exact(alice, dave)
    valkey = own.system.stack.valkey
    valkey.stop()
    shutil.copytree(_folder(own, "valkey"), tmp_path / "older")
    valkey.start()
    own.tweets(bob, 30)
    own.follow(alice, carol)
    own.unfollow(dave, bob)
    own.tweets(carol, 30)
    own.wait_drained()
    own.wait_exact(alice, dave)
    valkey.kill()
    shutil.rmtree(_folder(own, "valkey"))
    shutil.copytree(tmp_path / "older", _folder(own, "valkey"))
    valkey.start()
    own.wait_drained()
    assert own.whole_timeline(alice) == own.oracle(alice)
    assert own.whole_timeline(dave) == own.oracle(dave)
    own.tweets(carol, 3)
    own.wait_drained()
    own.wait_exact(alice, dave)


def test_a_redis_that_restarts_empty_is_filled_anew(own: Fanfare) -> None:
    """Nothing is lost but time: the fences come back, lists are built as they are read."""
    bob = own.user()
    alice = own.user(bob)
    own.tweets(bob, 30)
    own.wait_drained()
    own.wait_exact(alice)
    valkey = own.system.stack.valkey
    valkey.kill()
    shutil.rmtree(_folder(own, "valkey"))
    _folder(own, "valkey").mkdir()
    valkey.start()
    tweet = own.tweet(bob)
    wait_until(lambda: tweet.id in ids(own.timeline(alice).tweets), "the new tweet shows")
    own.wait_drained()
    own.wait_exact(alice)


def test_a_kafka_that_lost_everything_loses_nothing(own: Fanfare) -> None:
    """Events that Kafka forgot are in Postgres: Redis is emptied, and timelines are built anew."""
    bob = own.user()
    alice = own.user(bob)
    own.tweets(bob, 30)
    own.wait_drained()
    own.wait_exact(alice)
    stack = own.system.stack
    stack.kafka.kill()
    during = own.tweet(bob, "while Kafka is away")
    shutil.rmtree(_folder(own, "kafka"))
    stack._servers["kafka"] = stack._kafka()
    stack.kafka.start()
    migrate(own.settings)
    wait_until(lambda: during.id in ids(own.timeline(alice).tweets), "the tweet arrives", 60)
    after = own.tweets(bob, 3)
    own.wait_drained()
    own.wait_exact(alice)
    assert after[-1].id in ids(own.timeline(alice).tweets)
    assert str(after[-1].id).encode() in own.redis.lrange(home_list(alice.id).key, 0, -1)


def test_a_worker_that_slept_while_its_partitions_moved_does_no_harm(own: Fanfare) -> None:
    """A zombie wakes, finds the progress keys elsewhere, and starts again from them."""
    bob, carol = own.user(), own.user()
    alice = own.user(bob)
    own.tweets(bob, 5)
    own.wait_drained()
    own.wait_exact(alice)
    zombie = own.system.processes["worker"]
    os.kill(zombie.pid, signal.SIGSTOP)
    try:
        own.tweets(bob, 5)
        own.follow(alice, carol)
        second = own.system.another_worker()
        try:
            own.tweets(carol, 5)
            own.wait_drained()
            own.unfollow(alice, bob)
            own.tweets(bob, 5)
            own.wait_drained()
            own.wait_exact(alice)
            os.kill(zombie.pid, signal.SIGCONT)
            for _ in range(20):
                own.tweet(bob)
                own.tweet(carol)
            own.wait_drained()
            own.wait_exact(alice)
        finally:
            second.stop()
    finally:
        os.kill(zombie.pid, signal.SIGCONT)
    own.tweet(carol)
    own.wait_drained()
    own.wait_exact(alice)
