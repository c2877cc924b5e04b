"""The relay: late commits, takeovers, kills before events are marked, and refusals by Kafka."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import grpc
import psycopg
import pytest
from confluent_kafka import Producer
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.kafka_topic import RECORD_BYTES
from helpers.waiting import wait_until

from core.runtime.metrics import Metric
from core.storage.kafka import producer_settings
from ops.system import System
from write_service.events import tweet_created
from write_service.outbox import copy_events


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system of its own, whose relays are stalled and killed."""
    with Fanfare(start_system()) as clients:
        yield clients


def _unsent(own: Fanfare) -> int:
    return int(own.sql("SELECT count(*) FROM outbox WHERE sent_at IS NULL")[0][0])


def _records(own: Fanfare) -> int:
    """Return how many records have been appended to the topic."""
    return sum(partition.end for partition in own.feed.partitions())


def test_an_event_that_commits_late_is_not_passed_over(own: Fanfare) -> None:
    """An event is sent although events with higher ids were committed and sent before it."""
    bob, alice = own.cached_pair()
    with psycopg.connect(own.settings.primary_dsn()) as connection:
        row = connection.execute(
            "INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
            " VALUES (next_tweet_id(), %s, 'late', now(), now()) RETURNING id",
            (bob.id,),
        ).fetchone()
        assert row is not None
        late = Tweet(id=row[0], user_id=bob.id)
        copy_events(connection, [tweet_created(late, pulled=False, became_pulled=False)])
        carol = own.user()
        own.follow(alice, carol)
        own.tweets(carol, 5)
        own.wait_sent()
    own.wait_drained()
    own.wait_exact(alice)
    assert late.id in own.whole_timeline(alice)


def test_another_relay_takes_over_from_a_killed_one(own: Fanfare) -> None:
    """Only one of two write services runs the relay; when it is killed, the other takes over."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    second, target = own.system.another_write_service()
    first = own.system.processes["write"]
    try:
        with grpc.insecure_channel(target) as channel:
            write = WriteServiceStub(channel)
            for _ in range(5):
                own.tweet(bob)
                write.CreateTweet(w.CreateTweetRequest(user_id=bob.id, content="by the second"))
            own.wait_drained()
            own.wait_exact(alice)
            first.kill()
            write.CreateTweet(w.CreateTweetRequest(user_id=bob.id, content="after the first"))
            own.wait_counted(Metric.RELAY_STARTED, before)
            own.wait_drained()
            own.wait_exact(alice)
    finally:
        first.start()
        second.stop()
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)


def test_events_that_were_not_marked_are_sent_again(own: Fanfare) -> None:
    """If a relay is killed after Kafka has the events, they are sent twice and show once."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    records = _records(own)
    write = own.system.processes["write"]
    with psycopg.connect(own.settings.primary_dsn()) as connection:
        connection.execute("SELECT FROM relay_state FOR UPDATE")  # the marking waits for this
        own.tweets(bob, 5)
        wait_until(lambda: _records(own) == records + 5, "Kafka has the events")
        write.kill()
    assert _unsent(own) == 5
    write.start()
    own.wait_drained()
    assert _records(own) == records + 10
    own.wait_exact(alice)
    own.wait_counted(Metric.DUPLICATE_DROPPED, before)


def test_a_stalled_relay_does_no_harm_after_a_takeover(own: Fanfare) -> None:
    """A relay that wakes in the middle of a batch, while another is active, does no harm."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    carol = own.user()
    first = own.system.processes["write"]
    second, target = own.system.another_write_service()
    try:
        # In the middle of a batch: Kafka has the event, and the marking waits.
        records = _records(own)
        with psycopg.connect(own.settings.primary_dsn()) as connection:
            connection.execute("SELECT FROM relay_state FOR UPDATE")
            own.follow(alice, carol)
            wait_until(lambda: _records(own) == records + 1, "Kafka has the event")
            os.kill(first.pid, signal.SIGSTOP)
        own.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )
        own.wait_counted(Metric.RELAY_STARTED, before)
        with grpc.insecure_channel(target) as channel:
            write = WriteServiceStub(channel)
            write.UnfollowUser(w.UnfollowUserRequest(follower_id=alice.id, followed_id=carol.id))
            write.CreateTweet(w.CreateTweetRequest(user_id=carol.id, content="to nobody"))
            write.CreateTweet(w.CreateTweetRequest(user_id=bob.id, content="while it sleeps"))
        own.wait_drained()
        own.wait_exact(alice)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    own.tweets(bob, 3)
    own.tweets(carol, 3)
    own.wait_drained()
    own.wait_exact(alice)
    second.stop()
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)


def test_a_relay_of_an_old_epoch_may_not_mark(own: Fanfare) -> None:
    """A relay whose epoch is no longer current takes a new epoch and sends the events again."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    own.sql("UPDATE relay_state SET epoch = epoch + 1")  # as another relay does
    tweet = own.tweet(bob)
    own.wait_counted(Metric.RELAY_FENCED, before)
    own.wait_drained()
    own.wait_exact(alice)
    assert own.whole_timeline(alice)[0] == tweet.id


def test_records_of_a_replaced_relay_are_skipped(own: Fanfare) -> None:
    """An old follow that is sent after the unfollow has no effect."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    ((epoch,),) = own.sql("SELECT epoch FROM relay_state")
    own.unfollow(alice, bob)
    own.wait_drained()
    edge = pb.UserFollowed(follower_id=alice.id, followed_id=bob.id)
    late = pb.FeedEvent(user_followed=edge, relay_epoch=epoch - 1)
    producer = Producer(producer_settings(own.settings.kafka_address()))
    producer.produce(own.settings.topic, late.SerializeToString(), str(bob.id))
    assert producer.flush(10) == 0
    own.wait_counted(Metric.STALE_EPOCH_SKIPPED, before)
    assert own.whole_timeline(alice) == []
    own.tweets(bob, 3)
    own.wait_drained()
    assert own.whole_timeline(alice) == []


def test_refused_events_are_sent_by_a_new_producer(own: Fanfare) -> None:
    """An idempotent producer may stay broken, so a failure leads to a new one and a new epoch."""
    before = own.metrics()
    bob, alice = own.cached_pair()
    own.set_record_bytes(1)
    try:
        tweet = own.tweet(bob)
        own.wait_counted(Metric.PRODUCER_REBUILT, before)
    finally:
        own.set_record_bytes(RECORD_BYTES)
    own.wait_drained()
    own.wait_exact(alice)
    assert ids(own.timeline(alice).tweets)[0] == tweet.id


def test_events_are_replayed_from_postgres(own: Fanfare) -> None:
    """`fanfare replay` sends the retained events again, in order, without changing timelines."""
    bob, alice = own.cached_pair()
    carol = own.user()
    own.follow(alice, carol)
    own.tweets(carol, 5)
    own.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=own.oracle(alice)[1]))
    own.unfollow(alice, bob)
    own.wait_drained()
    own.wait_exact(alice)
    records = _records(own)
    ((kept,),) = own.sql("SELECT count(*) FROM outbox")
    replayed = own.command("replay", "--since", "100")
    assert "only events of the last 84 hours" in replayed.stderr
    assert replayed.stdout == f"{kept:,} events will be sent again\n"
    own.tweet(carol)
    own.tweet(bob)
    own.wait_drained()
    assert _records(own) >= records + kept + 2
    own.wait_exact(alice)
    assert own.command("replay", "--since", "0").returncode == 2
