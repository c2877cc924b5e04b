"""Servers and processes are killed: reads and writes go on, and nothing is lost."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers.fanfare import Fanfare
from helpers.grpc_client import Failure, failure, ids
from helpers.waiting import wait_until

from core.rpc.health_probe import probe
from core.runtime.metrics import Metric
from ops.system import System


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose servers and processes may be killed."""
    with Fanfare(start_system()) as clients:
        yield clients


def test_reads_go_on_while_redis_is_down(own: Fanfare) -> None:
    """Reads from Postgres show new tweets, and timelines are exact after Redis is back."""
    before = own.metrics()
    bob = own.user()
    alice = own.user(bob)
    own.tweets(bob, 30)
    own.wait_exact(alice)
    own.system.stack.valkey.kill()
    try:
        tweet = own.tweet(bob)
        assert own.timeline(alice).tweets[0].id == tweet.id
        assert own.whole_timeline(alice) == own.oracle(alice)
        for _ in range(3):
            assert own.timeline(alice).tweets[0].id == tweet.id
        own.wait_counted(Metric.REDIS_PAUSED, before)
        assert own.read.GetTweet(r.GetTweetRequest(tweet_id=tweet.id)).tweet == tweet
    finally:
        own.system.stack.valkey.start()
    own.wait_exact(alice)
    later = own.tweet(bob)
    wait_until(lambda: later.id in ids(own.timeline(alice).tweets), "the worker goes on")
    own.wait_exact(alice)


def test_writes_go_on_while_kafka_is_down(own: Fanfare) -> None:
    """Commands succeed, and their events wait in the outbox until Kafka is back."""
    bob = own.user()
    alice = own.user(bob)
    own.tweets(bob, 3)
    own.wait_exact(alice)
    own.system.stack.kafka.kill()
    try:
        tweet = own.tweet(bob, "while Kafka is down")
        carol = own.user()
        own.follow(alice, carol)
        assert own.timeline(alice).tweets
    finally:
        own.system.stack.kafka.start()
    wait_until(lambda: tweet.id in ids(own.timeline(alice).tweets), "the tweet arrives", 60)
    own.wait_exact(alice)
    own.wait_sent()


def _reads(own: Fanfare, reader: User) -> int | None:
    """Return how many tweets a first page has; None if it cannot be read."""
    try:
        return len(own.timeline(reader).tweets)
    except grpc.RpcError:
        return None


def test_commands_are_unavailable_while_postgres_is_down(own: Fanfare) -> None:
    """Cached timelines are served; commands work once Postgres does again, with no restart."""
    bob, alice = own.cached_pair(3)
    cached = [own.keys.tweet(tweet) for tweet in own.oracle(alice)]
    wait_until(lambda: own.redis.exists(*cached) == len(cached), "the tweets are in Redis")
    own.system.stack.postgres.kill()
    try:
        error = failure(lambda: own.tweet(bob))
        assert error == Failure(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
        wait_until(lambda: _reads(own, alice) == 3, "Redis answers")
    finally:
        own.system.stack.postgres.start()

    def works() -> bool:
        try:
            own.tweet(bob)
        except grpc.RpcError:
            return False
        return True

    wait_until(works, "commands work again")
    own.wait_exact(alice)


def test_no_call_fails_after_postgres_restarted(own: Fanfare) -> None:
    """Pooled connections that the restart has broken do not make calls fail."""
    bob, alice = own.user(), own.user()
    edge = {"follower_id": alice.id, "followed_id": bob.id}

    def fill_pools() -> bool:
        follows = [own.write.FollowUser.future(w.FollowUserRequest(**edge)) for _ in range(100)]
        lists = [own.read.ListUsers.future(r.ListUsersRequest(limit=100)) for _ in range(100)]
        calls: list[Any] = [*follows, *lists]
        for call in calls:
            call.result()
        pooled = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'fanfare-%%'"
        return bool(own.sql(pooled)[0][0] > 10)

    wait_until(fill_pools, "the pools hold connections")
    own.system.stack.postgres.kill()
    own.system.stack.postgres.start()
    assert own.read.ListUsers(r.ListUsersRequest(limit=1)).users
    own.unfollow(alice, bob)


@pytest.mark.parametrize("name", ["worker", "write", "read"])
def test_a_killed_process_loses_nothing(own: Fanfare, name: str) -> None:
    """After SIGKILL under load and a restart, every acknowledged tweet shows exactly once."""
    bob = own.user()
    readers = [own.user(bob) for _ in range(5)]
    own.wait_exact(*readers)
    acknowledged: list[str] = []
    stop = threading.Event()
    loader = threading.Thread(target=_load, args=(own, bob, acknowledged, stop))
    loader.start()
    try:
        wait_until(lambda: len(acknowledged) > 50, "the load runs")
        own.system.processes[name].kill()
        before = len(acknowledged)
        own.system.processes[name].start()
        wait_until(lambda: len(acknowledged) > before + 50, "the load goes on")
    finally:
        stop.set()
        loader.join()
    kept = own.sql("SELECT request_id::text FROM tweet_requests WHERE user_id = %s", bob.id)
    assert {row[0] for row in kept} >= set(acknowledged)
    own.wait_exact(*readers)


def _load(own: Fanfare, author: User, acknowledged: list[str], stop: threading.Event) -> None:
    while not stop.is_set():
        request_id = str(uuid.uuid4())
        request = w.CreateTweetRequest(user_id=author.id, content="x", request_id=request_id)
        try:
            own.write.CreateTweet(request, wait_for_ready=True, timeout=30)
        except grpc.RpcError:
            continue
        acknowledged.append(request_id)


def test_sigterm_drains(own: Fanfare) -> None:
    """Health becomes NOT_SERVING, running calls are answered, and the process exits with 0."""
    bob = own.user()
    alice = own.user(bob)
    process = own.system.processes["write"]
    target = own.settings.write_service_target()
    seen: list[int] = []
    with grpc.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="fanfare.write.v1.WriteService"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        items = [w.CreateTweetRequest(user_id=bob.id, content=f"t{n}") for n in range(1000)]
        batch = own.write.BatchCreateTweets.future(w.BatchCreateTweetsRequest(requests=items))
        wait_until(lambda: own.sql("SELECT 1 FROM tweets WHERE user_id = %s", bob.id), "begun")
        process.terminate()
        with contextlib.suppress(grpc.RpcError):  # the stream ends with the server
            seen.extend(answer.status for answer in watch)
    assert health_pb2.HealthCheckResponse.NOT_SERVING in seen
    assert len(batch.result().results) == 1000
    assert process.wait() == 0
    assert probe(target) is not None
    process.start()
    wait_until(lambda: probe(target) is None, "it serves again")
    own.wait_exact(alice)


def test_every_process_reports_its_health(own: Fanfare) -> None:
    """Health is reported by grpc.health.v1, for each service by name, and over HTTP at /health."""
    settings = own.settings
    worker = f"127.0.0.1:{settings.worker_port}"
    assert probe(settings.write_service_target(), "fanfare.write.v1.WriteService") is None
    assert probe(settings.read_service_target(), "fanfare.read.v1.ReadService") is None
    assert probe(worker) is None
    assert "NOT_FOUND" in (probe(worker, "no.such.Service") or "")
    assert own.rest("GET", "/health")[:2] == (200, {"status": "SERVING", "authentication": "off"})
