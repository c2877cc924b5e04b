"""Redis and Kafka lose data, and workers are paused: timelines become exact again."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from fanfare.common.v1.common_pb2 import User
from fanfare.events.v1.events_pb2 import FeedEvent, UserUnfollowed
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.waiting import wait_until

from core.feed.checkpoints import Checkpoint
from core.feed.sharding import PARTITIONS, SHARDS, Partition, Shard
from core.feed.timeline_lists import home_list
from core.runtime.metrics import Metric
from core.storage.kafka import GROUP, producer_settings
from fanout_worker.chunks import MAX_COMMANDS
from ops.migrate import migrate
from ops.system import System


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose servers may lose their data."""
    with Fanfare(start_system()) as clients:
        yield clients


def _folder(clients: Fanfare, server: str) -> Path:
    return clients.settings.state_dir / server / "data"


def test_the_worker_seeks_back_after_redis_went_back(own: Fanfare, tmp_path: Path) -> None:
    """After a failover to a lagging replica the worker applies the missing records again."""
    before = own.metrics()
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
    own.wait_counted(Metric.SEEK_BACK, before)
    own.tweets(carol, 3)
    own.wait_drained()
    own.wait_exact(alice, dave)


def test_a_redis_that_restarts_empty_is_filled_again(own: Fanfare) -> None:
    """The worker creates the checkpoints again, and readers build the lists."""
    bob, alice = own.cached_pair(30)
    valkey = own.system.stack.valkey
    valkey.kill()
    shutil.rmtree(_folder(own, "valkey"))
    _folder(own, "valkey").mkdir()
    valkey.start()
    tweet = own.tweet(bob)
    wait_until(lambda: tweet.id in ids(own.timeline(alice).tweets), "the new tweet shows")
    own.wait_drained()
    own.wait_exact(alice)


def test_no_tweet_is_lost_with_kafkas_data(own: Fanfare) -> None:
    """Redis is emptied, and timelines are built from Postgres, which has all tweets."""
    bob, alice = own.cached_pair(30)
    stack = own.system.stack
    stack.kafka.kill()
    during = own.tweet(bob, "while Kafka is away")
    shutil.rmtree(_folder(own, "kafka"))
    stack._servers["kafka"] = stack._kafka()
    stack.kafka.start()
    migrate(own.settings)
    wait_until(lambda: during.id in ids(own.timeline(alice).tweets), "the tweet arrives", 60)
    own.wait_cached(alice)
    after = own.tweets(bob, 3)
    own.wait_drained()
    own.wait_cached(alice)
    assert after[-1].id in ids(own.timeline(alice).tweets)
    assert str(after[-1].id).encode() in own.redis.lrange(
        own.keys.for_list(home_list(alice.id)), 0, -1
    )


def test_dead_letters_are_written_after_kafka_lost_its_data(own: Fanfare) -> None:
    """The producer of dead letters no longer works, and the worker replaces it."""
    bob, alice = own.cached_pair()
    kafka = own.system.stack.kafka
    for lost in (False, True):
        if lost:
            kafka.kill()
            shutil.rmtree(_folder(own, "kafka"))
            own.system.stack._servers["kafka"] = kafka = own.system.stack._kafka()
            kafka.start()
            migrate(own.settings)
            # Until the worker has a checkpoint, an event counts as applied if Postgres has it.
            own.wait_drained()
        for _ in range(3):
            before = own.metrics()
            own.sql(
                "INSERT INTO outbox (key, type, payload) VALUES (%s, 'tweet.created', '\\xffff')",
                bob.id,
            )
            own.tweet(bob)
            own.wait_counted(Metric.DEAD_LETTER, before)
        own.wait_drained()
        own.wait_exact(alice)


def test_a_recreated_topic_is_noticed(own: Fanfare) -> None:
    """The worker notices a recreated topic even if it has the offset that is expected next."""
    before = own.metrics()
    bob, alice = own.cached_pair(5)
    worker = own.system.processes["worker"]
    worker.stop()
    admin = AdminClient({"bootstrap.servers": own.settings.kafka_address()})
    furthest = max(partition.end for partition in own.feed.partitions())
    (deleted,) = admin.delete_topics([own.settings.topic]).values()
    deleted.result(60)
    wait_until(lambda: own.settings.topic not in admin.list_topics().topics, "the topic is deleted")
    migrate(own.settings)
    own.tweets(bob, furthest + 10)
    own.wait_sent()
    worker.start()
    own.wait_drained()
    assert own.whole_timeline(alice) == own.oracle(alice)
    own.wait_counted(Metric.LOST_RECORDS_NOTICED, before)


def test_another_record_before_the_checkpoint_is_noticed(own: Fanfare) -> None:
    """Such a record shows that Kafka was restored from an older copy, so all lists are dropped."""
    before = own.metrics()
    bob, alice = own.cached_pair(5)
    number = _send_foreign_record(own, bob)
    own.wait_drained()
    worker = own.system.processes["worker"]
    worker.stop()
    newest, *_ = own.oracle(alice)
    assert own.redis.lrem(own.keys.for_list(home_list(alice.id)), 0, str(newest)) == 1
    passed = own.feed.partitions()[number]
    for shard in range(SHARDS):
        key = own.keys.checkpoint(Shard(shard), Partition(passed.number))
        value = own.redis.get(key)
        assert isinstance(value, bytes)
        checkpoint = Checkpoint.decode(value)
        assert (checkpoint.offset, checkpoint.last_event_id > 0) == (passed.end, True)
        own.redis.set(key, replace(checkpoint, last_event_id=checkpoint.last_event_id - 1).encode())
    worker.start()
    own.wait_counted(Metric.LOST_RECORDS_NOTICED, before)
    own.wait_drained()
    own.wait_exact(alice)


def _send_foreign_record(own: Fanfare, user: User) -> int:
    """Send a record of another history; return the partition of the user's events."""
    delivered: list[int | None] = []
    producer = Producer(producer_settings(own.settings.kafka_address()))
    lost = FeedEvent(
        event_id=7,
        history="0123456789",
        relay_epoch=1 << 40,
        user_unfollowed=UserUnfollowed(follower_id=user.id, followed_id=user.id),
    )
    producer.produce(
        own.settings.topic,
        lost.SerializeToString(),
        str(user.id),
        on_delivery=lambda _, message: delivered.append(message.partition()),
    )
    assert producer.flush(60) == 0
    (partition,) = delivered
    assert partition is not None
    return partition


def test_records_of_another_history_are_skipped(own: Fanfare) -> None:
    """Such records are skipped whatever they contain, even if their relay epoch is the highest."""
    before = own.metrics()
    bob, alice = own.cached_pair(3)
    _send_foreign_record(own, bob)
    own.wait_counted(Metric.FOREIGN_RECORD_SKIPPED, before)
    tweet = own.tweet(bob)
    own.wait_drained()
    assert own.whole_timeline(alice)[0] == tweet.id
    own.wait_exact(alice)


def test_a_zombie_worker_does_no_harm(own: Fanfare) -> None:
    """A paused worker whose partitions have moved finds newer checkpoints and loads them."""
    bob, carol = own.user(), own.user()
    alice = own.user(bob)
    own.tweets(bob, 5)
    own.tweets(carol, 5)
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
    # The follows that the paused worker remembers have changed meanwhile.
    own.tweet(carol)
    own.tweet(bob)
    own.wait_drained()
    assert own.whole_timeline(alice) == own.oracle(alice)


def test_flushall_under_a_running_worker_is_noticed(own: Fanfare) -> None:
    """The worker creates the checkpoints again, from the group's offsets."""
    before = own.metrics()
    bob, alice = own.cached_pair(5)
    own.redis.flushall()
    tweet = own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)
    assert own.whole_timeline(alice)[0] == tweet.id
    for metric in (Metric.CHECKPOINT_MISMATCH, Metric.CHECKPOINT_CREATED):
        own.wait_counted(metric, before)


def test_one_lost_checkpoint_invalidates_all_lists(own: Fanfare) -> None:
    """Redis may have lost more than the checkpoint, so no list is served after that."""
    before = own.metrics()
    bob, alice = own.cached_pair(5)
    list_ = home_list(alice.id)
    newest = own.oracle(alice)[0]
    assert own.redis.lrem(own.keys.for_list(list_), 0, str(newest)) == 1
    assert own.whole_timeline(alice) == own.oracle(alice)[1:]
    assert own.redis.delete(own.keys.checkpoint(list_.shard, Partition(7)))
    own.wait_counted(Metric.CHECKPOINT_CREATED, before)
    own.wait_drained()
    assert own.whole_timeline(alice) == own.oracle(alice)
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)


def test_a_list_does_not_outlive_its_checkpoint(own: Fanfare) -> None:
    """Without its checkpoint, and with other group offsets, a list is built again."""
    bob, alice = own.cached_pair(5)
    worker = own.system.processes["worker"]
    worker.stop()
    own.tweets(bob, 5)
    own.wait_sent()
    list_ = home_list(alice.id)
    own.redis.delete(*own.keys.checkpoints(list_.shard))
    _reset_offsets(own, "end")
    worker.start()
    own.wait_drained()
    assert own.whole_timeline(alice) == own.oracle(alice)


def _reset_offsets(own: Fanfare, where: str) -> None:
    admin = AdminClient({"bootstrap.servers": own.settings.kafka_address()})
    places = [
        TopicPartition(own.settings.topic, partition.number, partition.end if where == "end" else 0)
        for partition in own.feed.partitions()
    ]
    (altered,) = admin.alter_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(GROUP, places)]
    ).values()
    altered.result(60)


@pytest.mark.parametrize("where", ["beginning", "end"])
@pytest.mark.parametrize("emptied", [False, True])
def test_reset_group_offsets_change_nothing(own: Fanfare, where: str, *, emptied: bool) -> None:
    """Only checkpoints count; even if they are lost as well, timelines are exact."""
    before = own.metrics()
    bob, carol = own.user(), own.user()
    alice = own.user(bob)
    gone = own.tweets(bob, 30)[3]
    own.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=gone.id))
    own.follow(alice, carol)
    own.unfollow(alice, bob)
    own.tweets(carol, 3)
    own.wait_drained()
    own.wait_exact(alice)
    worker = own.system.processes["worker"]
    worker.stop()
    _reset_offsets(own, where)
    if emptied:
        own.redis.flushall()
    own.follow(alice, bob)
    worker.start()
    own.tweets(bob, 3)
    own.wait_drained()
    own.wait_exact(alice)
    if emptied:
        own.wait_counted(Metric.CHECKPOINT_CREATED, before)


def test_records_deleted_before_they_were_read_are_noticed(own: Fanfare) -> None:
    """If retention overtakes a paused worker, Redis is emptied and lists are built again."""
    before = own.metrics()
    bob, alice = own.cached_pair(5)
    worker = own.system.processes["worker"]
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        own.tweet(bob)  # answers the fetch that the worker had sent
        own.wait_sent()
        own.tweets(bob, 5)
        own.wait_sent()
        admin = AdminClient({"bootstrap.servers": own.settings.kafka_address()})
        places = [TopicPartition(own.settings.topic, number, -1) for number in range(PARTITIONS)]
        for deleted in admin.delete_records(places).values():
            deleted.result(60)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    own.tweets(bob, 3)
    own.wait_drained()
    own.wait_exact(alice)
    for metric in (Metric.OFFSET_GONE, Metric.LOST_RECORDS_NOTICED):
        own.wait_counted(metric, before)


def test_a_tweet_to_many_followers_is_written_in_chunks(own: Fanfare) -> None:
    """A transaction that would block Redis for long is split, but moves the checkpoint once."""
    before = own.metrics()
    star = own.user()
    readers = own.sql(
        "WITH made AS (INSERT INTO users (username)"
        " SELECT 'crowd_' || n FROM generate_series(1, %s) AS n RETURNING id),"
        " crowd AS (SELECT id FROM made WHERE id %% %s = 0)"
        " INSERT INTO follows (follower_id, followed_id) SELECT id, %s FROM crowd"
        " RETURNING follower_id",
        SHARDS * (MAX_COMMANDS + 50),
        SHARDS,
        star.id,
    )
    assert len(readers) > MAX_COMMANDS
    some = [User(id=row[0]) for row in readers[:: len(readers) // 10]]
    for reader in some:
        own.timeline(reader)
    own.tweet(star)
    own.wait_counted(Metric.BATCH_CUT, before)
    own.wait_drained()
    for reader in some:
        assert own.whole_timeline(reader) == own.oracle(reader)
