"""Each symptom is caused on real servers, and a real Prometheus fires its alert and ends it.

All tests share one system, and heal what they broke; the last test waits until no alert fires. The
times in the rules are shortened (helpers/alerting.py), and nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import LiteralString

import grpc
import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from fanfare.read.v1 import read_pb2 as r
from helpers.alerting import SCRAPE_SECONDS, Alerting, write_shortened_rules
from helpers.fanfare import Fanfare
from helpers.kafka_topic import RECORD_BYTES
from helpers.rules import alerts
from helpers.waiting import wait_until
from redis import Redis

import embedded.prometheus
import ops.certificates
from core.feed.sharding import Partition
from core.feed.timeline_lists import home_list
from core.runtime.metrics import Metric
from core.runtime.metrics_ports import Program
from core.storage.backups import COMPLETE
from core.storage.kafka import dead_letter_topic, producer_settings
from embedded.ports import free_ports
from embedded.prometheus import prepare_prometheus
from embedded.server import ServerProcess
from ops.certificates import Authority
from ops.system import System

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="prometheus is not installed (Debian: prometheus): no alert was seen firing",
)
CALLERS = 30
CALL_SECONDS = 20.0
OLD_SECONDS = 40 * 3600
EVICTED_KEYS = 2000
EVICTED_BYTES = 1000
ENOUGH_BYTES = 8_000_000_000
MISMATCHES = 10


class Alerted(Fanfare):
    """Clients of a system, and the Prometheus that watches it."""

    def __init__(self, system: System, backup: Path) -> None:
        super().__init__(system)
        assert system.prometheus_address is not None
        self.alerting = Alerting(system.prometheus_address)
        self.backup = backup
        """A file whose time is that of the newest backup of Postgres."""


@pytest.fixture(scope="module")
def own(
    start_system: Callable[..., System], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alerted]:
    """Return clients of a system with a Prometheus that scrapes twice a second."""
    folder = tmp_path_factory.mktemp("alerts")
    backup = folder / "backups" / "newest" / COMPLETE
    backup.parent.mkdir(parents=True)
    backup.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded.prometheus, "SCRAPE_SECONDS", SCRAPE_SECONDS)
        system = start_system(
            replica=True,
            prometheus_rules=write_shortened_rules(folder / "rules"),
            FANFARE_VERIFY_PER_MINUTE="600",
            FANFARE_BACKUP_DIR=str(backup.parents[1]),
        )
    with Alerted(system, backup) as clients:
        yield clients


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """Yield a folder on a file system of its own, None where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass(frozen=True)
class Second:
    """A second read service, which has a certificate and a disk of its own."""

    alerting: Alerting
    """The Prometheus that scrapes it, and nothing else."""
    tls: Path
    authority: Authority
    disk: Path | None
    """Where its state folder is; None if no small file system can be mounted here."""


@pytest.fixture(scope="module")
def second(own: Alerted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    """Return a read service whose certificate expires soon, and whose disk is full."""
    folder = tmp_path_factory.mktemp("second")
    tls = folder / "tls"
    authority = Authority()
    read_port, metrics_port, port = free_ports(3)
    with _small_disk(folder / "disk") as disk, pytest.MonkeyPatch.context() as patch:
        with patch.context() as short:
            short.setattr(ops.certificates, "VALIDITY", timedelta(days=10))
            authority.issue(tls, "fanfare")
        patch.setattr(embedded.prometheus, "SCRAPE_SECONDS", SCRAPE_SECONDS)
        rules = write_shortened_rules(folder / "rules")
        targets = {"read": [f"127.0.0.1:{metrics_port}"]}
        prometheus = prepare_prometheus(folder / "prometheus", port, targets, rules, tls)
        service = own.system._process(
            "tls-read",
            "read_service",
            lambda: True,
            tls_dir=str(tls),
            read_port=str(read_port),
            rest_read_port="0",
            metrics_port=str(metrics_port - Program.READ),
            **({"state_dir": str(disk)} if disk else {}),
        )
        service.start()
        prometheus.start()
        yield Second(Alerting(f"127.0.0.1:{port}"), tls, authority, disk)
        prometheus.stop()
        service.stop()


@contextmanager
def _no_writes_to_redis(own: Alerted) -> Iterator[None]:
    own.redis.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        own.redis.config_set("min-replicas-to-write", 0)


@contextmanager
def _no_records_to_kafka(own: Alerted) -> Iterator[None]:
    own.set_record_bytes(1)
    try:
        yield
    finally:
        own.set_record_bytes(RECORD_BYTES)


@contextmanager
def _no_replay_on_the_replica(own: Alerted) -> Iterator[None]:
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
def _unsafe_setting(own: Alerted) -> Iterator[None]:
    own.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        yield
    finally:
        own.redis.config_set("maxmemory-policy", "volatile-lru")


@contextmanager
def _dead_letter(own: Alerted) -> Iterator[None]:
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
def _old_backup(own: Alerted) -> Iterator[None]:
    then = time.time() - OLD_SECONDS
    os.utime(own.backup, (then, then))
    yield
    os.utime(own.backup)


@contextmanager
def _killed(process: ServerProcess) -> Iterator[None]:
    process.kill()
    try:
        yield
    finally:
        process.start()


@contextmanager
def _full(redis: Redis) -> Iterator[None]:
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)
        redis.config_set("maxmemory-policy", "volatile-lru")


def _evict(own: Alerted) -> None:
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
def _callers(call: Callable[[], object]) -> Iterator[None]:
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


def test_nothing_fires_while_all_is_well(own: Alerted) -> None:
    """Every process is scraped, timelines are verified, and no alert fires."""
    own.cached_pair()
    own.wait_drained()
    wait_until(lambda: len(own.alerting.query("up == 1")) == 3, "all processes are scraped")
    exact = 'sum(fanfare_timeline_verifications_total{result="exact"}) > 0'
    wait_until(lambda: own.alerting.query(exact), "a timeline was verified")
    own.alerting.wait_quiet()


@pytest.mark.usefixtures("second")
def test_what_waits_or_is_unsafe_is_noticed(own: Alerted) -> None:
    """Many symptoms at once, because some need half a minute.

    The worker cannot write to Redis, the relay cannot send, the replica stands still, Redis has an
    unsafe setting and evicts keys, a record cannot be read, and the newest backup is old.
    """
    alerting = own.alerting
    bob, alice = own.cached_pair()
    with ExitStack() as stack:
        stack.enter_context(_dead_letter(own))
        own.wait_drained()
        _evict(own)
        for spoil in (_old_backup, _unsafe_setting, _no_replay_on_the_replica, _no_writes_to_redis):
            stack.enter_context(spoil(own))
        own.tweets(bob, 20)
        # The lag of the replica is that of the relay's heartbeats, so the relay must still work.
        alerting.wait_fired("FanfareRedisEvictions", "FanfareNotReady", "FanfareReplicaBehind")
        stack.enter_context(_no_records_to_kafka(own))
        own.tweet(bob)
        alerting.wait_fired(
            "FanfareLag",
            "FanfareUnsafeSetting",
            "FanfareBackupOld",
            "FanfareDeadLetters",
            "FanfareOutboxStuck",
        )
    own.wait_drained()
    own.wait_exact(alice)
    # The events that waited have been applied late.
    alerting.wait_fired("FanfareFreshnessBurnFast", "FanfareFreshnessBurnSlow")


def test_what_ends_soon_is_noticed(second: Second) -> None:
    """A certificate that expires, and a disk that is full, since before the test above."""
    second.alerting.wait_fired("FanfareCertificateExpires")
    second.authority.issue(second.tls, "fanfare")
    if second.disk is None:
        pytest.skip("this machine cannot mount a small file system")
    second.alerting.wait_fired("FanfareDiskFull")
    subprocess.run(["mount", "-o", f"remount,size={ENOUGH_BYTES}", second.disk], check=True)


def test_a_process_that_is_gone_is_noticed(own: Alerted) -> None:
    """Without the write service nothing is sent; without the worker nothing is verified."""
    with _killed(own.system.processes["write"]), _killed(own.system.processes["worker"]):
        own.alerting.wait_fired("FanfareDown", "FanfareRelayMissing", "FanfareVerificationsStopped")
        assert {alert["job"] for alert in own.alerting.firing()["FanfareDown"]} == {
            "fanfare-write",
            "fanfare-worker",
        }


def test_a_redis_that_is_gone_or_full_is_noticed(own: Alerted) -> None:
    """Reads are answered all the time, by Postgres."""
    bob, alice = own.cached_pair()
    with _killed(own.system.stack.valkey), _callers(lambda: own.timeline(alice)):
        own.alerting.wait_fired("FanfareRedisDown")
    own.wait_drained()
    with _full(own.redis):
        own.tweets(bob, 30)
        own.alerting.wait_fired("FanfareRedisFull")
    own.wait_drained()
    own.wait_exact(alice)


def test_calls_that_fail_or_wait_are_noticed(own: Alerted) -> None:
    """A lock that somebody holds in Postgres makes calls wait, be slow, and fail."""
    stub = own.read

    def call() -> None:
        stub.ListUsers(r.ListUsersRequest(), timeout=CALL_SECONDS)

    with psycopg.connect(own.settings.primary_dsn()) as connection:
        connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        with _callers(call):
            own.alerting.wait_fired(
                "FanfarePostgresOverloaded",
                "FanfareAvailabilityBurnFast",
                "FanfareAvailabilityBurnSlow",
                "FanfareLatencyBurnFast",
                "FanfareLatencyBurnSlow",
            )
            connection.rollback()


def test_a_wrong_timeline_and_wrong_checkpoints_are_noticed(own: Alerted) -> None:
    """Somebody removes a tweet from a list in Redis, and then checkpoints."""
    bob, alice = own.cached_pair()
    newest = own.timeline(alice).tweets[0]
    key = own.keys.for_list(home_list(alice.id))
    assert own.redis.lrem(key, 0, str(newest.id)) > 0
    own.alerting.wait_fired("FanfareTimelineWrong")
    assert own.command("rebuild", "--user", str(alice.id)).returncode == 0
    own.wait_exact(alice)
    for _ in range(MISMATCHES):
        own.redis.delete(own.keys.checkpoint(home_list(alice.id).shard, Partition(0)))
        own.tweets(bob, 3)
        own.wait_drained()
    own.alerting.wait_fired("FanfareCheckpointMismatches")
    own.wait_exact(alice)


def test_every_alert_has_fired_and_ended(own: Alerted, second: Second) -> None:
    """No alert was forgotten above, and all is well again."""
    fired = own.alerting.fired | second.alerting.fired
    assert set(alerts()) - fired <= (set() if second.disk else {"FanfareDiskFull"})
    own.alerting.wait_quiet()
    # It scrapes nothing but a read service.
    second.alerting.wait_quiet(*alerts().keys() - {"FanfareCertificateExpires", "FanfareDiskFull"})
