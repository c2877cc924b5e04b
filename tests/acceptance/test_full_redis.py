"""Redis at its memory limit: timelines stay exact, and the worker is NOT_SERVING."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.waiting import wait_until

from core.feed.timeline_lists import home_list
from core.rpc.health_probe import probe
from core.runtime.metrics import Metric
from ops.system import System

FILLER_BYTES = 4_000_000


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose Redis may be filled."""
    with Fanfare(start_system()) as clients:
        yield clients


@pytest.fixture
def limit(own: Fanfare) -> Iterator[Callable[[int], object]]:
    """Return a function that limits the memory of Redis, without eviction."""
    own.redis.config_set("maxmemory-policy", "noeviction")
    yield lambda size: own.redis.config_set("maxmemory", size)
    own.redis.config_set("maxmemory", 0)
    own.redis.config_set("maxmemory-policy", "volatile-lru")


def _worker_serves(own: Fanfare) -> bool:
    return probe(f"127.0.0.1:{own.settings.worker_port}") is None


def _text(own: Fanfare, tweet: Tweet) -> str:
    return own.read.GetTweet(r.GetTweetRequest(tweet_id=tweet.id)).tweet.content


def test_a_full_redis_makes_no_timeline_stale(own: Fanfare, limit: Callable[[int], object]) -> None:
    """While Redis refuses writes, Postgres answers all reads, and the worker is NOT_SERVING."""
    before = own.metrics()
    bob, alice = own.cached_pair(5)
    carol = own.user(bob)
    own.wait_drained()
    edited, deleted = own.tweets(bob, 2)
    own.wait_drained()
    own.wait_exact(alice, carol)
    limit(1)
    own.tweets(bob, 30)
    own.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=edited.id, content="edited"))
    own.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=deleted.id))
    own.unfollow(carol, bob)
    dave = own.user(bob)  # has no list in Redis, and cannot get one
    own.wait_counted(Metric.REDIS_FULL, before)
    own.wait_exact(alice, carol, dave)
    for _ in range(3):
        own.tweets(bob, 10)
        for reader in (alice, carol, dave):
            assert own.whole_timeline(reader) == own.oracle(reader)

    def read() -> None:
        assert own.whole_timeline(dave) == own.oracle(dave)

    own.wait_counted(Metric.CACHE_REFUSED, before, read)
    assert _text(own, edited) == "edited"
    assert own.timeline(alice, limit=100).tweets[-6].content == "edited"
    wait_until(lambda: not _worker_serves(own), "the worker is NOT_SERVING")

    limit(0)
    wait_until(lambda: _worker_serves(own), "the worker serves again")
    own.wait_drained()
    own.wait_exact(alice, carol, dave)
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(carol, dave)
    own.wait_cached(alice)


def test_the_worker_makes_room_by_deleting_cached_timelines(
    own: Fanfare, limit: Callable[[int], object]
) -> None:
    """If lists fill Redis, the worker deletes them, and readers build them again."""
    before = own.metrics()
    bob, alice = own.cached_pair(5)
    nobody = 10**12
    for number in range(nobody, nobody + 4):
        own.redis.rpush(own.keys.for_list(home_list(number)), b"x" * FILLER_BYTES)
    # What was used includes a buffer of the last filler's size, which Redis soon frees.
    limit(int(own.redis.info("memory")["used_memory"]) - 2 * FILLER_BYTES)
    tweets = own.tweets(bob, 30)
    own.wait_counted(Metric.REDIS_FULL, before)
    own.wait_drained()
    own.wait_exact(alice)
    assert ids(own.timeline(alice).tweets)[0] == tweets[-1].id
    wait_until(lambda: _worker_serves(own), "the worker serves")
