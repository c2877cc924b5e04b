"""The faults that a story may draw. Each method returns whether the fault could happen now."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # theirs
from helpers.waiting import wait_until
from torture.restore_faults import RestoreFaults
from torture.world import CALL_SECONDS, SETTLE_SECONDS, Cast, World

from core.feed.sharding import PARTITIONS
from core.storage.kafka import GROUP, PLACE_HEADER, dead_letter_topic, producer_settings
from ops.migrate import migrate

THRESHOLDS = (0, 1, 2, 100_000)
REDELIVERED = (1, 5, 30, 200)
REPLAYED_HOURS = ("0.001", "0.01", "0.1")


class Faults(RestoreFaults):
    """Makes faults happen to the system of a story."""

    def __init__(self, world: World, cast: Cast) -> None:
        super().__init__(world, cast)
        self._letters = 0

    def happen(self, fault: str, which: int) -> None:
        """Make a fault happen and count it; which: a number that selects what it hits."""
        act: Callable[[int], bool] = getattr(self, fault)
        if act(which):
            self._world.figures.faults[fault] += 1

    # The feed --------------------------------------------------------------------------------

    def stale_record(self, which: int) -> bool:
        """Send an old event again, as a relay that was replaced long ago might."""
        rows = [] if self._world.records_refused else self._sent_rows()
        if rows:
            key, payload = rows[which % len(rows)]
            self._produce(key, payload)  # without an epoch, so older than any relay's
        return bool(rows)

    def poison_record(self, which: int) -> bool:
        """Send a record that is not an event."""
        if not self._world.records_refused:
            self._produce(self._cast.user(which), b"\xff\xff")
        return not self._world.records_refused

    def poison_event(self, which: int) -> bool:
        """Create a tweet whose event cannot be read, as if another version had written it."""
        author = self._cast.user(which)
        ((tweet,),) = self._world.clients.sql(
            "WITH event AS (INSERT INTO outbox (key, type, payload)"
            " VALUES (%s, 'tweet.created', '\\xffff'))"
            " INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
            " VALUES (next_tweet_id(), %s, 'poison', now(), now()) RETURNING id",
            author,
            author,
        )
        self._cast.tweets.append(tweet)
        self._cast.all_tweets.append(tweet)
        return True

    def redeliver(self, which: int) -> bool:
        """Make the relay send its last events again, as if it had died before marking them.

        Its epoch ends, as it does when a relay dies: in its epoch, a relay does not look for events
        below its low-water mark.
        """
        if self._world.records_refused:
            return False
        # Wait until everything is sent: otherwise newer events would come before the older ones.
        wait_until(self._all_sent, "the relay has sent everything", SETTLE_SECONDS)
        self._world.clients.sql(
            "WITH ended AS (UPDATE relay_state SET epoch = epoch + 1)"
            " UPDATE outbox SET sent_at = NULL WHERE id >= (SELECT min(id) FROM"
            " (SELECT id FROM outbox ORDER BY id DESC LIMIT %s) AS batch)",
            REDELIVERED[which % len(REDELIVERED)],
        )
        return True

    def replay_since(self, which: int) -> bool:
        """Run `fanfare replay` for the events of the last seconds or minutes."""
        self._operator("replay", "--since", REPLAYED_HOURS[which % len(REPLAYED_HOURS)])
        return True

    def replay_letter(self, which: int) -> bool:
        """Put an old event among the dead letters, and replay it with `fanfare dlq`."""
        rows = self._sent_rows()
        if not rows or self._world.records_refused:
            return False
        key, payload = rows[which % len(rows)]
        self._letters += 1
        topic = self._world.system.settings.topic
        place = f"{topic}/torture/{id(self)}-{self._letters}"
        self._produce(key, payload, dead_letter_topic(topic), {PLACE_HEADER: place})
        self._operator("dlq", "replay", "--place", place)
        return True

    def supersede_relay(self, _: int) -> bool:
        """Raise the relay epoch, as another relay does when it takes over."""
        self._world.clients.sql("UPDATE relay_state SET epoch = epoch + 1")
        return True

    def refuse_records(self, _: int) -> bool:
        """Make Kafka refuse all records until the end of the story."""
        self._world.refuse_records(refuse=True)
        return True

    def lose_records(self, _: int) -> bool:
        """Delete all records in Kafka, read or not, as an expired retention would."""
        places = [
            TopicPartition(self._world.system.settings.topic, number, -1)
            for number in range(PARTITIONS)
        ]

        def delete() -> None:
            for done in self._world.admin.delete_records(places).values():
                done.result(CALL_SECONDS)

        _insist(delete, "Kafka's records are deleted")
        return True

    def reset_offsets(self, which: int) -> bool:
        """Reset the group's offsets while no worker runs; Redis may be empty."""
        world = self._world
        if world.second_worker is not None or not world.redis_up:
            return False
        world.continue_worker()
        world.worker.stop()
        self._reset_offsets(which)
        if which % 4 > 1:
            world.clients.redis.flushall()
        world.worker.launch()
        return True

    def _reset_offsets(self, which: int) -> None:
        admin = self._world.admin
        spec = OffsetSpec.earliest() if which % 2 else OffsetSpec.latest()  # type: ignore[no-untyped-call]  # theirs
        topic = self._world.system.settings.topic
        asked = {TopicPartition(topic, number): spec for number in range(PARTITIONS)}

        def reset() -> None:
            places = [
                TopicPartition(place.topic, place.partition, done.result(CALL_SECONDS).offset)
                for place, done in admin.list_offsets(asked).items()
            ]
            wanted = [ConsumerGroupTopicPartitions(GROUP, places)]
            for done in admin.alter_consumer_group_offsets(wanted).values():
                done.result(CALL_SECONDS)

        # A worker that was killed remains a member of the group until its session times out.
        _insist(reset, "the group's offsets are reset")

    def _all_sent(self) -> bool:
        query = "SELECT count(*) FROM outbox WHERE sent_at IS NULL"
        return self._world.clients.sql(query) == [(0,)]

    def _sent_rows(self) -> list[tuple[int, bytes]]:
        rows = self._world.clients.sql(
            "SELECT key, payload FROM outbox WHERE key = ANY(%s) AND sent_at IS NOT NULL"
            " ORDER BY id LIMIT 100",
            self._cast.users,
        )
        return [(row[0], row[1]) for row in rows]

    def _produce(
        self,
        key: int,
        value: bytes,
        topic: str | None = None,
        headers: dict[str, str | bytes | None] | None = None,
    ) -> None:
        settings = self._world.system.settings
        # Not idempotent: a broker that has lost its data may refuse such a producer's second
        # record as out of order, and nothing here would replace the producer.
        producer = Producer(
            producer_settings(settings.kafka_address()) | {"enable.idempotence": False}
        )
        producer.produce(topic or settings.topic, value, str(key), headers=headers)
        producer.flush(CALL_SECONDS)

    # Processes and servers -------------------------------------------------------------------

    def stop_worker(self, _: int) -> bool:
        """Pause the worker."""
        if not self._world.worker.running or self._world.worker_stopped:
            return False
        self._world.stop_worker()
        return True

    def continue_worker(self, _: int) -> bool:
        """Resume the worker."""
        stopped = self._world.worker_stopped
        self._world.continue_worker()
        return stopped

    def replace_worker(self, _: int) -> bool:
        """Pause the worker and start a second one; when the first resumes, it must be fenced."""
        if self._world.second_worker is not None or not self._world.worker.running:
            return False
        if not self._world.worker_stopped:
            self._world.stop_worker()
        self._world.second_worker = self._world.system.another_worker()
        return True

    def kill_worker(self, _: int) -> bool:
        """Kill the worker and start it again."""
        self._world.continue_worker()
        self._world.worker.kill()
        self._world.worker.launch()
        return True

    def restart_worker(self, _: int) -> bool:
        """Restart the worker by SIGTERM."""
        self._world.continue_worker()
        self._world.worker.launch()
        return True

    def kill_write(self, _: int) -> bool:
        """Kill the write service with its relay, and start it again."""
        self._world.system.processes["write"].kill()
        self._world.system.processes["write"].start()
        return True

    def kill_read(self, _: int) -> bool:
        """Kill the read service and start it again."""
        self._world.system.processes["read"].kill()
        self._world.system.processes["read"].start()
        return True

    def change_threshold(self, which: int) -> bool:
        """Change FANFARE_PULL_FOLLOWERS."""
        self._world.set_pull_followers(THRESHOLDS[which % len(THRESHOLDS)])
        return True

    def pause_replay(self, _: int) -> bool:
        """Pause the replay of WAL on the replica."""
        if not self._world.system.stack.replica.running or self._world.replay_paused:
            return False
        self._world.on_replica("SELECT pg_wal_replay_pause()")
        self._world.replay_paused = True
        return True

    def resume_replay(self, _: int) -> bool:
        """Resume the replay of WAL on the replica."""
        if not self._world.replay_paused:
            return False
        self._world.on_replica("SELECT pg_wal_replay_resume()")
        self._world.replay_paused = False
        return True

    def kill_replica(self, _: int) -> bool:
        """Kill the replica until the end of the story."""
        running = self._world.system.stack.replica.running
        self._world.system.stack.replica.kill()
        self._world.replay_paused = False
        return running

    def crash_postgres(self, _: int) -> bool:
        """Kill the primary and start it again."""
        self._world.release_replica()
        self._world.system.stack.postgres.kill()
        self._world.system.stack.postgres.start()
        self._world.postgres_crashed_at = time.monotonic()
        return True

    def crash_kafka(self, _: int) -> bool:
        """Kill Kafka and start it again."""
        self._world.system.stack.kafka.kill()
        self._world.system.stack.kafka.start()
        self._world.connect_kafka()
        return True

    def lose_kafka(self, _: int) -> bool:
        """Restart Kafka without its data, and create its topics again."""
        stack = self._world.system.stack
        stack.kafka.kill()
        shutil.rmtree(self._world.system.settings.state_dir / "kafka")
        stack._servers["kafka"] = stack._kafka()
        stack.kafka.start()
        self._world.connect_kafka()
        migrate(self._world.system.settings)
        self._world.records_refused = False
        return True


CHEAP = (
    *("flush_redis", "copy_redis", "restore_redis", "drop_list", "drop_cached_tweet"),
    *("drop_checkpoint", "abandon_build", "stop_worker", "continue_worker", "pause_replay"),
    *("resume_replay", "stale_record", "redeliver", "supersede_relay", "lose_records"),
    *("poison_record", "poison_event", "evict"),
)
# Faults that take seconds. Those named twice are drawn twice as often: some metrics need them.
COSTLY = (
    *("stop_redis", "start_redis", "empty_redis", "copy_redis_files", "restore_redis_files"),
    *("kill_worker", "restart_worker", "kill_write", "kill_read", "replace_worker"),
    *("change_threshold", "kill_replica", "crash_postgres", "crash_kafka", "lose_kafka"),
    *("reset_offsets", "refuse_records", "replay_since", "replay_letter", "fill_redis"),
    *("copy_servers", "restore_servers", "hold_replication", "fail_over", "recreate_database"),
    *("stop_redis", "refuse_records", "replay_letter", "kill_replica", "fill_redis"),
    *("copy_servers", "copy_servers"),
)
FAULTS = (*CHEAP, *COSTLY, "star")


def _insist(act: Callable[[], None], what: str) -> None:
    """Do something in Kafka, and try again while it fails: Kafka may be restarting."""

    def done() -> bool:
        try:
            act()
        except (KafkaException, TimeoutError):
            return False
        return True

    wait_until(done, what, SETTLE_SECONDS)
