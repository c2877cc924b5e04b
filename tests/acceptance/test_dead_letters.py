"""Unreadable records become dead letters, temporary failures do not; timelines stay exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer
from fanfare.common.v1.common_pb2 import User
from fanfare.events.v1 import events_pb2 as pb
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.waiting import wait_until

from core.feed.timeline_lists import home_list
from core.runtime.metrics import Metric
from core.storage.kafka import PLACE_HEADER, REASON_HEADER, dead_letter_topic, producer_settings
from ops.system import System
from write_service.outbox import CHANNEL

Headers = dict[str, str | bytes | None]


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system into whose feed these tests put unreadable records."""
    with Fanfare(start_system()) as clients:
        yield clients


def _produce(
    own: Fanfare,
    topic: str,
    user: User,
    value: bytes,
    headers: Headers | None = None,
) -> None:
    producer = Producer(producer_settings(own.settings.kafka_address()))
    producer.produce(topic, value, str(user.id), headers=headers)
    assert producer.flush(10) == 0


@pytest.mark.parametrize(
    "value", [b"\xff\xff", b"", pb.FeedEvent(tweet_created=pb.TweetCreated()).SerializeToString()]
)
def test_an_unreadable_record_becomes_a_dead_letter(own: Fanfare, value: bytes) -> None:
    """An unreadable record is listed by `fanfare dlq`, and later records are applied."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    _produce(own, own.settings.topic, bob, value)
    tweet = own.tweet(bob)
    own.wait_counted(Metric.DEAD_LETTER, before)
    own.wait_counted(Metric.CACHE_DROPPED, before)
    own.wait_drained()
    own.wait_exact(alice)
    assert ids(own.timeline(alice).tweets)[0] == tweet.id
    listed = own.command("dlq", "list")
    assert listed.returncode == 0, listed.stderr
    assert f"{own.settings.topic}/" in listed.stdout
    assert "waiting" in listed.stdout
    refused = own.command("dlq", "replay")
    assert refused.returncode == 1
    assert "this version cannot read" in refused.stderr


def test_a_tweet_and_a_follow_whose_events_cannot_be_read_still_show(own: Fanfare) -> None:
    """All that an unreadable event may concern is removed from Redis and the worker's memory."""
    bob, alice = own.cached_pair()
    carol = own.user()
    own.wait_exact(carol)
    own.sql(
        "WITH event AS (INSERT INTO outbox (key, type, payload)"
        " VALUES (%s, 'tweet.created', '\\xffff'), (%s, 'user.followed', '\\xffff'))"
        ", edge AS (INSERT INTO follows (follower_id, followed_id) VALUES (%s, %s))"
        " INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
        " VALUES (next_tweet_id(), %s, 'poison', now(), now())",
        *[bob.id, bob.id, carol.id, bob.id, bob.id],
    )
    own.sql(f"NOTIFY {CHANNEL}")
    own.wait_drained()
    own.wait_cached(alice, carol)
    tweet = own.tweet(bob)  # pushed to the followers, which the worker has read again
    own.wait_drained()
    for reader in (alice, carol):
        own.wait_cached(reader)
        cached = own.redis.lrange(own.keys.for_list(home_list(reader.id)), 0, -1)
        assert cached[0] == str(tweet.id).encode()


def test_records_before_a_dead_letter_do_not_come_back(own: Fanfare) -> None:
    """Records before a dead letter in the same fetch are applied before everything is removed."""
    bob, alice = own.cached_pair()
    carol = own.user()
    own.wait_exact(carol)
    tweet = own.timeline(alice).tweets[0]
    worker = own.system.processes["worker"]
    worker.stop()
    own.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=tweet.id, content="second"))
    own.follow(carol, bob)
    own.sql(
        "WITH event AS (INSERT INTO outbox (key, type, payload)"
        " VALUES (%s, 'tweet.updated', '\\xffff'), (%s, 'user.unfollowed', '\\xffff'))"
        ", edge AS (DELETE FROM follows WHERE follower_id = %s)"
        " UPDATE tweets SET content = 'third', version = version + 1 WHERE id = %s",
        *[bob.id, bob.id, carol.id, tweet.id],
    )
    own.wait_sent()
    worker.start()
    own.wait_drained()
    assert own.timeline(alice).tweets[0].content == "third"
    assert own.timeline(carol).tweets == []
    own.tweet(bob)
    own.wait_drained()
    assert own.timeline(carol).tweets == []
    own.wait_exact(alice)


def test_a_dead_letter_that_can_be_read_now_is_replayed(own: Fanfare) -> None:
    """For a replayed record, the worker removes what it concerns from Redis, to be built again."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    newest = own.timeline(alice).tweets[0]
    event = pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=newest))
    place = f"{own.settings.topic}/0/123456"
    headers: dict[str, str | bytes | None] = {
        PLACE_HEADER: place,
        REASON_HEADER: "another version wrote it",
    }
    topic = dead_letter_topic(own.settings.topic)
    _produce(own, topic, bob, event.SerializeToString(), headers)
    # As if the record had not been applied.
    own.redis.lrem(own.keys.for_list(home_list(alice.id)), 0, str(newest.id))
    own.redis.delete(own.keys.tweet(newest.id))
    wait_until(lambda: own.whole_timeline(alice) != own.oracle(alice), "the tweet is missing")
    replayed = own.command("dlq", "replay", "--place", place)
    assert (replayed.returncode, replayed.stdout) == (0, "1 dead letters replayed\n")
    own.wait_counted(Metric.REPLAYED, before)
    own.wait_drained()
    own.wait_exact(alice)
    unknown = own.command("dlq", "replay", "--place", "nowhere/0/0")
    assert unknown.returncode == 1
    assert "there is no dead letter from nowhere/0/0" in unknown.stderr


def test_a_replayed_creation_of_a_deleted_tweet_resurrects_nothing(own: Fanfare) -> None:
    """A creation that is replayed after the deletion does not bring the tweet back."""
    bob, alice = own.cached_pair()
    tweet = own.timeline(alice).tweets[0]
    event = pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet))
    place = f"{own.settings.topic}/0/654321"
    topic = dead_letter_topic(own.settings.topic)
    _produce(own, topic, bob, event.SerializeToString(), {PLACE_HEADER: place})
    own.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet.id))
    own.unfollow(alice, bob)
    own.wait_drained()
    assert own.command("dlq", "replay", "--place", place).returncode == 0
    own.wait_drained()
    own.wait_exact(alice)
    own.follow(alice, bob)
    own.wait_drained()
    own.wait_exact(alice)


def test_a_letter_is_replayed_once(fanfare: Fanfare) -> None:
    """`dlq replay` continues after the last replayed letter; `dlq list` shows which those are."""
    bob = fanfare.user()
    tweet = fanfare.tweet(bob)
    event = pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet))
    topic = dead_letter_topic(fanfare.settings.topic)
    assert fanfare.command("dlq", "list").stdout == "No dead letters.\n"
    _produce(fanfare, topic, bob, event.SerializeToString(), {PLACE_HEADER: "feed/1/2"})
    assert fanfare.command("dlq", "replay").stdout == "1 dead letters replayed\n"
    assert fanfare.command("dlq", "replay").stdout == "0 dead letters replayed\n"
    assert "replayed" in fanfare.command("dlq", "list").stdout
    fanfare.wait_drained()


def test_a_temporary_failure_loses_nothing(own: Fanfare) -> None:
    """While Redis refuses writes the worker retries, and afterwards continues."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    own.redis.config_set("min-replicas-to-write", 1)
    try:
        tweet = own.tweet(bob)
        wait_until(
            lambda: own.metrics()[Metric.FANOUT_RESTARTED] >= before[Metric.FANOUT_RESTARTED] + 3,
            "the worker has retried three times",
        )
        cached = own.redis.lrange(own.keys.for_list(home_list(alice.id)), 0, -1)
        assert str(tweet.id).encode() not in cached
    finally:
        own.redis.config_set("min-replicas-to-write", 0)
    own.wait_drained()
    own.wait_exact(alice)


def test_a_worker_without_postgres_waits_for_it(own: Fanfare) -> None:
    """A worker that cannot read an author's followers waits, instead of pushing to no one."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    worker = own.system.processes["worker"]
    worker.kill()  # so that it must read the followers again
    own.tweet(bob)
    own.wait_sent()
    own.system.stack.postgres.kill()
    try:
        worker.launch()
        own.wait_counted(Metric.FANOUT_RESTARTED, before)
    finally:
        own.system.stack.postgres.start()
    own.wait_drained()
    own.wait_exact(alice)
    assert worker.running
