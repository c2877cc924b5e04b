"""How the worker follows rebalances, mismatches and failures, without skipping a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException
from helpers.fakes.worker import FakeServers, FakeWorker
from helpers.fakes.worker_events import created
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from core.feed.sharding import Partition, Shard
from core.feed.timeline_lists import home_list
from core.runtime.metrics import Metric
from fanout_worker.progress import RETRY_SECONDS

Counted = Callable[[], Counter[Metric]]

AUTHOR, READER = 1, 20


@pytest.fixture
def delivering(worker: FakeWorker) -> FakeWorker:
    """Return a worker with partition 0, an author there, and a follower with a cached list."""
    worker.servers.store.followers_of = {AUTHOR: [READER]}
    worker.assign(0)
    worker.cache(home_list(READER))
    return worker


def test_a_tweet_is_delivered_and_its_offset_committed(delivering: FakeWorker) -> None:
    """A record takes effect in Redis, and the group learns of it once that is certain."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.step()
    assert delivering.group.stored == {}
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {100}
    assert delivering.group.stored == {0: 1}


def test_all_partitions_are_loaded_after_a_rebalance(delivering: FakeWorker) -> None:
    """The worker seeks all of its partitions to their checkpoints, also those it had before."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.drain()
    delivering.assign(0, 3)
    assert delivering.group.seeks[-1] == {0: 1, 3: 0}
    delivering.assign(3)
    assert delivering.checkpoints.partitions == {3}


def test_a_revoked_batch_is_not_committed(delivering: FakeWorker, counted: Counted) -> None:
    """The partition may have another owner already, and Kafka would refuse to commit its offset."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.step()
    assert delivering.applier.is_busy
    delivering.assign(3)
    delivering.step()
    assert delivering.group.stored == {}
    assert counted()[Metric.FANOUT_RESTARTED] == 0


def test_a_mismatch_leads_back_to_the_checkpoints_in_redis(
    delivering: FakeWorker, counted: Counted
) -> None:
    """Redis went back to an older copy: the worker seeks there, and applies the records again."""
    servers = delivering.servers
    older = dict(servers.redis.strings)
    servers.kafka.send(0, created(100, AUTHOR))
    delivering.drain()
    for key, value in older.items():
        servers.redis.set(key, value)
    delivering.cache(home_list(READER))
    servers.kafka.send(0, created(101, AUTHOR))
    delivering.drain()
    assert delivering.group.seeks[-1] == {0: 0}
    assert delivering.cached(home_list(READER)) == {100, 101}
    assert counted()[Metric.SEEK_BACK] == 1


def test_an_idle_worker_notices_a_mismatch(delivering: FakeWorker, counted: Counted) -> None:
    """Without new records the checkpoints are compared once a second."""
    delivering.servers.redis.flush()
    for _ in range(3):
        delivering.step()
    assert delivering.checkpoints.partitions == {0}
    assert delivering.stored(0) == set(delivering.checkpoints.rows([Partition(0)])[Partition(0)])
    assert counted()[Metric.CHECKPOINT_MISMATCH] == 1


def test_a_paused_worker_changes_nothing_when_it_wakes(servers: FakeServers) -> None:
    """Another worker has moved the checkpoints on: the old batch is refused, and thrown away."""
    servers.store.followers_of = {AUTHOR: [READER]}
    paused, other = FakeWorker(servers), FakeWorker(servers)
    paused.assign(0)
    servers.kafka.send(0, created(100, AUTHOR))
    paused.step()
    assert paused.applier.is_busy
    other.assign(0)
    other.drain()
    other.cache(home_list(READER))
    checkpoints = other.stored(0)
    paused.step()
    assert other.stored(0) == checkpoints
    assert other.cached(home_list(READER)) == set()
    assert paused.checkpoints.partitions == set()
    assert paused.followers.size == 0
    assert not paused.applier.is_busy


def test_a_batch_is_not_sent_after_one_that_was_refused(delivering: FakeWorker) -> None:
    """The second batch was prepared as if the first had been applied, so both are thrown away."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.step()
    moved = delivering.stored(0).pop()
    assert moved is not None
    key = delivering.shards.keys.checkpoint(Shard(READER % 16), Partition(0))
    delivering.servers.redis.set(key, moved.encode())  # written, and so noticed by WATCH
    delivering.servers.kafka.send(0, created(101, AUTHOR))
    delivering.step()
    assert delivering.cached(home_list(READER)) == set()
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {100, 101}


@pytest.mark.parametrize("error", [RedisConnectionError("away"), OSError("away")])
def test_failures_are_retried_with_growing_waits(
    delivering: FakeWorker, counted: Counted, error: Exception
) -> None:
    """The worker polls while it waits, and then applies what was lost with the connection."""
    servers = delivering.servers
    servers.kafka.send(0, created(100, AUTHOR))
    servers.redis.failure = error
    waits = []
    for _ in range(4):
        before = delivering.clock.seconds
        delivering.step()
        waits.append(delivering.clock.seconds - before)
    assert waits[1:] == pytest.approx([RETRY_SECONDS * factor for factor in (2, 4, 8)], abs=0.11)
    assert waits[0] < waits[1] < waits[2] < waits[3]
    servers.redis.failure = None
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {100}
    assert counted()[Metric.FANOUT_RESTARTED] == 4
    before = delivering.clock.seconds
    servers.redis.failure = error
    servers.kafka.send(0, created(101, AUTHOR))
    delivering.step()
    assert delivering.clock.seconds - before == pytest.approx(RETRY_SECONDS, abs=0.11)


def test_a_bug_is_retried_too(delivering: FakeWorker, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error must not end the thread, and is logged with its traceback."""
    delivering.servers.store.failure = ZeroDivisionError()
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.step()
    assert "this is a bug" in caplog.text
    delivering.servers.store.failure = None
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {100}


def test_health_fails_while_a_server_is_away(delivering: FakeWorker) -> None:
    """The watchdog reports the reason until the worker makes progress again."""
    delivering.servers.redis.failure = RedisConnectionError("Redis is away")
    for _ in range(8):
        delivering.step()
    assert delivering.watchdog.trouble() == "Redis is away"
    delivering.servers.redis.failure = None
    delivering.step()
    delivering.step()
    assert delivering.watchdog.trouble() is None


def test_health_fails_while_kafka_is_away(delivering: FakeWorker) -> None:
    """An empty poll does not show that Kafka is away, so the worker asks for the topic's id."""
    delivering.servers.kafka.failure = KafkaException("Kafka is away")
    for _ in range(10):
        delivering.step()
    assert delivering.watchdog.trouble() == "Kafka is away"
    assert delivering.checkpoints.partitions == {0}


def test_reads_and_deliveries_go_on_while_postgres_is_away(delivering: FakeWorker) -> None:
    """The checkpoints are not compared then, and known followers still get their tweets."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.drain()
    delivering.servers.store.failure = psycopg.OperationalError("away")
    delivering.servers.kafka.send(0, created(101, AUTHOR))
    delivering.drain()
    for _ in range(3):
        delivering.step()
    assert delivering.cached(home_list(READER)) == {100, 101}
    assert delivering.checkpoints.partitions == {0}


def test_caches_are_dropped_when_redis_is_out_of_memory(delivering: FakeWorker) -> None:
    """Lists to which a push failed are wrong; dropping them frees memory."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.servers.redis.failure = ResponseError("OOM command not allowed when used memory")
    delivering.step()
    delivering.step()
    assert delivering.cached(home_list(READER)) is None
    delivering.drain()


def test_messages_of_a_broken_connection_are_fetched_again(delivering: FakeWorker) -> None:
    """Kafka may have been restored in between, so the checkpoints are loaded first."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.group.disconnect()
    delivering.step()
    assert delivering.checkpoints.partitions == set()
    delivering.drain()
    assert delivering.group.seeks[-1] == {0: 0}
    assert delivering.cached(home_list(READER)) == {100}


def test_a_new_leader_is_not_believed_unseen(delivering: FakeWorker) -> None:
    """The new leader may have other records at the same offsets: load the checkpoints first."""
    kafka = delivering.servers.kafka
    kafka.send(0, created(100, AUTHOR))
    kafka.leader_epoch = 2
    kafka.send(0, created(101, AUTHOR))
    delivering.step()
    assert delivering.checkpoints.partitions == set()
    delivering.drain()
    assert delivering.group.seeks[-1] == {0: 1}
    assert delivering.cached(home_list(READER)) == {100, 101}


def test_an_offset_that_kafka_lacks_is_looked_into(
    delivering: FakeWorker, counted: Counted
) -> None:
    """Kafka deleted records that were not applied: caches are dropped, and consuming goes on."""
    kafka = delivering.servers.kafka
    for number in range(3):
        kafka.send(0, created(100 + number, AUTHOR))
    kafka.starts[Partition(0)] = 2
    delivering.drain()
    assert counted()[Metric.OFFSET_GONE] == 1
    assert delivering.cached(home_list(READER)) is None
    assert {c.offset for c in delivering.stored(0) if c is not None} == {3}


def test_other_errors_of_kafka_are_retried(delivering: FakeWorker, counted: Counted) -> None:
    """An error that is not about an offset starts the fan-out again."""
    delivering.group.failure = KafkaException(KafkaError(KafkaError._TRANSPORT))
    delivering.step()
    assert counted()[Metric.FANOUT_RESTARTED] == 1
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {100}


def test_a_recreated_topic_is_noticed_without_records(delivering: FakeWorker) -> None:
    """The new topic may have the next offset, so fetching alone would not reveal it."""
    delivering.servers.kafka.topic_id = "topic-2"
    for _ in range(6):
        delivering.step()
    assert {c.topic_id for c in delivering.stored(0) if c is not None} == {"topic-2"}


def test_a_new_history_is_entered(delivering: FakeWorker, counted: Counted) -> None:
    """The worker moves to the keys of the new history, and removes those of the old one."""
    store = delivering.servers.store
    old = delivering.shards.keys
    store.ended, store.history = [store.history or ""], "fedcba9876"
    for _ in range(4):
        delivering.step()
    assert delivering.checkpoints.history == "fedcba9876"
    keys = [*delivering.servers.redis.strings, *delivering.servers.redis.lists]
    assert all(key.startswith(b"fanfare:fedcba9876:") for key in keys)
    assert old != delivering.shards.keys
    assert counted()[Metric.HISTORY_MOVED] == 1


def test_a_stale_checkpoint_of_one_shard_is_brought_forward(delivering: FakeWorker) -> None:
    """A crash in the middle of a batch leaves shards at two offsets; only some need the records."""
    servers = delivering.servers
    servers.kafka.send(0, created(100, AUTHOR))
    delivering.drain()
    ahead = delivering.stored(0).pop()
    assert ahead is not None
    key = delivering.shards.keys.checkpoint(Shard(READER % 16), Partition(0))
    servers.redis.set(key, replace(ahead, offset=0, last_event_id=0).encode())
    servers.store.followers_of[AUTHOR].append(READER + 1)
    delivering.cache(home_list(READER))
    delivering.cache(home_list(READER + 1))
    restarted = FakeWorker(servers)
    restarted.assign(0)
    restarted.drain()
    assert restarted.cached(home_list(READER)) == {100}
    assert restarted.cached(home_list(READER + 1)) == set()


def test_an_assignment_always_starts_from_the_checkpoints(delivering: FakeWorker) -> None:
    """The worker may have had the partition before, and another worker in between."""
    delivering.consumer._on_assign({Partition(0)})
    assert delivering.checkpoints.partitions == set()
