"""Symptoms, caused on a running system until a context ends; alerts notice them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import LiteralString

import grpc
import psycopg
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from helpers.alerting import Alerting
from helpers.fanfare import Fanfare
from helpers.kafka_topic import RECORD_BYTES
from helpers.waiting import wait_until
from redis import Redis

from core.runtime.metrics import Metric
from core.storage.kafka import dead_letter_topic, producer_settings
from embedded.server import ServerProcess
from ops.system import System

CALLERS = 30
OLD_SECONDS = 40 * 3600
EVICTED_KEYS = 2000
EVICTED_BYTES = 1000


class Alerted(Fanfare):
    """Clients of a system, and the Prometheus that watches it."""

    def __init__(self, system: System, backup: Path) -> None:
        super().__init__(system)
        assert system.prometheus_address is not None
        self.alerting = Alerting(system.prometheus_address)
        self.backup = backup
        """A file whose time is that of the newest backup of Postgres."""


@contextmanager
def no_writes_to_redis(own: Alerted) -> Iterator[None]:
    """Have Redis refuse writes, which the worker repeats."""
    own.redis.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        own.redis.config_set("min-replicas-to-write", 0)


@contextmanager
def no_records_to_kafka(own: Alerted) -> Iterator[None]:
    """Have Kafka refuse every record, which the relay repeats."""
    own.set_record_bytes(1)
    try:
        yield
    finally:
        own.set_record_bytes(RECORD_BYTES)


@contextmanager
def no_replay_on_the_replica(own: Alerted) -> Iterator[None]:
    """Have the replica receive WAL without replaying it."""

    def ask(function: LiteralString) -> None:
        with psycopg.connect(own.settings.replica_dsn(), autocommit=True) as connection:
            connection.execute(f"SELECT {function}()")

    ask("pg_wal_replay_pause")
    try:
        yield
    finally:
        # What is replayed at once may cancel the statement that has just resumed it.
        with suppress(psycopg.errors.SerializationFailure):
            ask("pg_wal_replay_resume")


@contextmanager
def unsafe_setting(own: Alerted) -> Iterator[None]:
    """Have Redis evict whatever it likes, checkpoints too."""
    own.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        yield
    finally:
        own.redis.config_set("maxmemory-policy", "volatile-lru")


@contextmanager
def dead_letter(own: Alerted) -> Iterator[None]:
    """Send a record that nobody can read; at the end, Kafka deletes the dead letter."""
    producer = Producer(producer_settings(own.settings.kafka_address()))
    before = own.metrics()
    producer.produce(own.settings.topic, b"\xff\xff", b"1")
    assert producer.flush(10) == 0
    own.wait_counted(Metric.DEAD_LETTER, before)
    yield
    # As Kafka does when the letter is FANFARE_RETENTION_DAYS old.
    admin = AdminClient({"bootstrap.servers": own.settings.kafka_address(), "log_level": 0})
    everything = TopicPartition(dead_letter_topic(own.settings.topic), 0, -1)
    for done in admin.delete_records([everything]).values():
        done.result(10)


@contextmanager
def old_backup(own: Alerted) -> Iterator[None]:
    """Let the newest backup be too old."""
    then = time.time() - OLD_SECONDS
    os.utime(own.backup, (then, then))
    yield
    os.utime(own.backup)


@contextmanager
def killed(process: ServerProcess) -> Iterator[None]:
    """Kill a process; at the end, start it again."""
    process.kill()
    try:
        yield
    finally:
        process.start()


@contextmanager
def full(redis: Redis) -> Iterator[None]:
    """Leave Redis no memory, and nothing to evict."""
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)
        redis.config_set("maxmemory-policy", "volatile-lru")


def evict(own: Alerted) -> None:
    """Make Redis evict keys that nobody needs."""
    pipeline = own.redis.pipeline(transaction=False)
    for number in range(EVICTED_KEYS):
        pipeline.set(f"another program:{number}", b"x" * EVICTED_BYTES, ex=3600)
    pipeline.execute()
    used = int(own.redis.info("memory")["used_memory"])
    before = int(own.redis.info("stats")["evicted_keys"])
    own.redis.config_set("maxmemory", used - EVICTED_KEYS * EVICTED_BYTES // 2)
    wait_until(lambda: int(own.redis.info("stats")["evicted_keys"]) > before, "keys are evicted")
    own.redis.config_set("maxmemory", 0)


@contextmanager
def callers(call: Callable[[], object]) -> Iterator[None]:
    """Have many threads make a call again and again, whether it succeeds or not."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            with suppress(grpc.RpcError):
                call()

    threads = [threading.Thread(target=run) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
