"""The system that stories share: its clients, what is broken in it now, and how to repair it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import psycopg
from confluent_kafka.admin import AdminClient
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from helpers import backups
from helpers.fanfare import Fanfare
from helpers.kafka_topic import RECORD_BYTES
from helpers.waiting import wait_until
from helpers.watch_client import WatchClient
from torture.figures import Figures

from core.rpc.health_probe import probe
from core.runtime.metrics import Metric
from embedded.server import ServerProcess
from embedded.stack import StackError
from ops.system import System

# Far longer than anything takes, since several runs may share a small machine.
CALL_SECONDS = 60.0
SETTLE_SECONDS = 180.0
NO_PULL = 100_000
# How many of the newest tweets are watched.
WATCHED = 20
# gRPC would wait a second before it connects to a restarted service again.
CHANNEL = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]

# The followers of a star: over 1,000 in each of the 16 shards.
CROWD = 16_500


@dataclass
class Cast:
    """The users and tweets of a story."""

    users: list[int] = field(default_factory=list)
    """Users who exist; a story names one by its index."""
    deleted: list[int] = field(default_factory=list)
    stars: set[int] = field(default_factory=set)
    """Users whom the crowd follows. They are never deleted, which would take 16,500 events."""
    tweets: list[int] = field(default_factory=list)
    """Tweets that exist."""
    all_tweets: list[int] = field(default_factory=list)

    def user(self, index: int) -> int:
        """Return the user at an index, which may exceed the number of users."""
        return self.users[index % len(self.users)]


class World:
    """A system that is kept from story to story, and replaced only when it cannot be repaired."""

    def __init__(self, start: Callable[[], System], figures: Figures) -> None:
        """Start a system; `start` makes one with a replica and a short FANFARE_TIMELINE_LENGTH."""
        self._start = start
        self.figures = figures
        self.pull_followers = NO_PULL
        self.base_pull_followers = NO_PULL
        self.broken = False
        self.metrics: Counter[Metric] = Counter()
        """The metrics of the systems that were closed."""
        self._open()

    def _open(self) -> None:
        self.system = self._start()
        self.clients = Fanfare(self.system)
        settings = self.system.settings
        self._channels = [
            grpc.insecure_channel(target, options=CHANNEL)
            for target in (settings.write_service_target(), settings.read_service_target())
        ]
        self.write = WriteServiceStub(self._channels[0])
        self.read = ReadServiceStub(self._channels[1])
        self.connect_kafka()
        self.worker_stopped = False
        self.second_worker: ServerProcess | None = None
        self.replay_paused = False
        self.held_sender: int | None = None
        """The primary's process that sends to the replica, while it is paused."""
        self.replica_lost = False
        """Whether the replica has data that the primary lost when it was restored."""
        self.records_refused = False
        self.redis_full = False
        self.postgres_crashed_at = -math.inf
        self.pull_followers = NO_PULL
        self._crowd: tuple[int, int] | None = None

    def close(self) -> None:
        """Close the clients and stop the system, whatever is broken in it."""
        with contextlib.suppress(ProcessLookupError):
            self.continue_worker()
        self.clients.close()
        for channel in self._channels:
            channel.close()
        if self.second_worker is not None:
            self.second_worker.stop()
        self.system.stop()
        self.metrics += self.clients.metrics()

    def ready(self) -> None:
        """Repair the system for the next story, or start a new one if the last repair failed."""
        if self.broken:
            self.close()
            self._open()
            self.broken = False
        self.repair()

    def watch(self, user: int) -> WatchClient:
        """Return a client that watches a home timeline, and has to be closed."""
        return WatchClient(self._channels[1], user, WATCHED)

    # What is up and what is down ----------------------------------------------------------

    @property
    def redis_up(self) -> bool:
        """Whether Redis runs."""
        return self.system.stack.valkey.running

    def connect_kafka(self) -> None:
        """Connect to Kafka again: a client may wait forever for what a restored broker has lost."""
        servers = self.system.settings.kafka_address()
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})

    def reconnect_restored_kafka(self) -> None:
        """Connect to Kafka after a restore, and set the record limit, which it may have lost."""
        self.connect_kafka()
        self.clients.reopen_feed()
        self.refuse_records(refuse=self.records_refused)

    def release_replica(self) -> None:
        """Resume replication if it was stopped."""
        if self.held_sender is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.held_sender, signal.SIGCONT)
            self.held_sender = None

    def repair_replica(self) -> None:
        """Rebuild the replica from the primary, if that was restored."""
        if self.replica_lost:
            backups.rebuild_replica(self.system)
            self.replica_lost = self.replay_paused = False

    def new_users(self, count: int) -> list[int]:
        """Insert users by SQL; return their ids."""
        names = [f"t_{uuid.uuid4().hex[:20]}" for _ in range(count)]
        query = "INSERT INTO users (username) SELECT unnest(%s::text[]) RETURNING id"
        return [row[0] for row in self.clients.sql(query, names)]

    @property
    def worker(self) -> ServerProcess:
        """The first worker."""
        return self.system.processes["worker"]

    def on_replica(self, query: str) -> list[tuple[object, ...]]:
        """Return the rows of a query to the replica."""
        with psycopg.connect(self.system.settings.replica_dsn(), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall()

    def set_pull_followers(self, threshold: int) -> None:
        """Kill the write service and start it with another FANFARE_PULL_FOLLOWERS."""
        system = self.system
        system.processes["write"].kill()
        target = system.settings.write_service_target()
        process = system._process(
            "write",
            "write_service",
            lambda: probe(target) is None,
            pull_followers=str(threshold),
        )
        system.processes["write"] = process
        process.start()
        self.pull_followers = threshold

    def refuse_records(self, *, refuse: bool) -> None:
        """Make Kafka refuse all records, or accept them again."""
        self.clients.set_record_bytes(1 if refuse else RECORD_BYTES)
        self.records_refused = refuse

    def fill_redis(self, *, full: bool) -> None:
        """Make Redis refuse writes for lack of memory, or lift the limit again."""
        redis = self.clients.redis
        redis.config_set("maxmemory-policy", "noeviction" if full else "volatile-lru")
        redis.config_set("maxmemory", int(full))
        self.redis_full = full

    def crowd(self) -> tuple[int, int]:
        """Return the first and the last id of the crowd, which the first call inserts."""
        if self._crowd is None:
            rows = self.clients.sql(
                "WITH made AS (INSERT INTO users (username) SELECT 'crowd_' || n"
                " FROM generate_series(1, %s) AS n RETURNING id) SELECT min(id), max(id) FROM made",
                CROWD,
            )
            self._crowd = (rows[0][0], rows[0][1])
        return self._crowd

    def forget_lost_crowd(self) -> None:
        """Insert the crowd again next time if a restored database does not have it."""
        query = "SELECT count(*) FROM users WHERE starts_with(username, 'crowd_')"
        count = self.clients.sql(query)
        if count != [(CROWD,)]:
            self._crowd = None

    # Repair ----------------------------------------------------------------------------------

    def repair(self) -> None:
        """Start what is down and resume what is paused, without waiting for the feed to drain."""
        self.release_replica()
        self.repair_replica()
        stack = self.system.stack
        for server in (stack.postgres, stack.replica, stack.valkey, stack.kafka):
            if not server.running:
                server.start()
        if self.replay_paused:
            self.on_replica("SELECT pg_wal_replay_resume()")
            self.replay_paused = False
        if self.records_refused:
            self.refuse_records(refuse=False)
        self.fill_redis(full=False)
        for name in ("write", "read"):
            if not self.system.processes[name].running:
                self.system.processes[name].start()
        if self.pull_followers != self.base_pull_followers:
            self.set_pull_followers(self.base_pull_followers)
        if self.second_worker is not None:
            # The paused worker resumes once the other one has done all of its work.
            self.settle()
            self.continue_worker()
            self.settle()
            self.second_worker.stop()
            self.second_worker = None
        self.continue_worker()
        if not self.worker.running:
            self.worker.launch()

    def settle(self) -> None:
        """Wait until every event has been applied, and all servers are in one history.

        Deleted users must be erased first, because every step of that has events.
        """
        deleted = "SELECT 1 FROM users WHERE deleted_at IS NOT NULL LIMIT 1"
        wait_until(
            lambda: not self.clients.sql(deleted), "deleted users are erased", SETTLE_SECONDS
        )
        wait_until(self.clients.is_drained, "the outbox and Kafka are drained", SETTLE_SECONDS)
        wait_until(self.clients.reads_current_history, "reads are in the history", SETTLE_SECONDS)
        ((written,),) = self.clients.sql("SELECT pg_current_wal_lsn()::text")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"

        def caught_up() -> bool:
            try:
                return self.on_replica(replayed) == [(True,)]
            except psycopg.Error:
                return False

        wait_until(caught_up, "the replica has caught up", SETTLE_SECONDS)

    def give_up(self) -> None:
        """Repair the system after a failed story, or mark it as broken."""
        try:
            self.repair()
            self.settle()
        except (AssertionError, StackError, psycopg.Error, OSError):
            self.broken = True

    def stop_worker(self) -> None:
        """Pause the worker with SIGSTOP, as if its machine had frozen."""
        os.kill(self.worker.pid, signal.SIGSTOP)
        self.worker_stopped = True

    def continue_worker(self) -> None:
        """Resume the worker if it is paused."""
        if self.worker_stopped:
            os.kill(self.worker.pid, signal.SIGCONT)
            self.worker_stopped = False
