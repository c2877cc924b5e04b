"""Each symptom is caused on real servers, and a real Prometheus fires its alert and ends it.

All tests share one system, and heal what they broke; the last test waits until no alert fires. The
times in the rules are shortened (helpers/alerting.py), and nothing else.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from fanfare.read.v1 import read_pb2 as r
from helpers.alerting import SCRAPE_SECONDS, Alerting, write_shortened_rules
from helpers.rules import alerts
from helpers.symptoms import (
    Alerted,
    callers,
    dead_letter,
    evict,
    full,
    killed,
    no_records_to_kafka,
    no_replay_on_the_replica,
    no_writes_to_redis,
    old_backup,
    unsafe_setting,
)
from helpers.waiting import wait_until

import embedded.prometheus
import ops.certificates
from core.feed.sharding import Partition
from core.feed.timeline_lists import home_list
from core.runtime.metrics_ports import Program
from core.storage.backups import COMPLETE
from embedded.ports import free_ports
from embedded.prometheus import prepare_prometheus
from ops.certificates import Authority
from ops.system import System

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="prometheus is not installed (Debian: prometheus): no alert was seen firing",
)
CALL_SECONDS = 20.0
ENOUGH_BYTES = 8_000_000_000
MISMATCHES = 10


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
        stack.enter_context(dead_letter(own))
        own.wait_drained()
        evict(own)
        for spoil in (old_backup, unsafe_setting, no_replay_on_the_replica, no_writes_to_redis):
            stack.enter_context(spoil(own))
        own.tweets(bob, 20)
        # The lag of the replica is that of the relay's heartbeats, so the relay must still work.
        alerting.wait_fired("FanfareRedisEvictions", "FanfareNotReady", "FanfareReplicaBehind")
        stack.enter_context(no_records_to_kafka(own))
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
    with killed(own.system.processes["write"]), killed(own.system.processes["worker"]):
        own.alerting.wait_fired("FanfareDown", "FanfareRelayMissing", "FanfareVerificationsStopped")
        assert {alert["job"] for alert in own.alerting.firing()["FanfareDown"]} == {
            "fanfare-write",
            "fanfare-worker",
        }


def test_a_redis_that_is_gone_or_full_is_noticed(own: Alerted) -> None:
    """Reads are answered all the time, by Postgres."""
    bob, alice = own.cached_pair()
    with killed(own.system.stack.valkey), callers(lambda: own.timeline(alice)):
        own.alerting.wait_fired("FanfareRedisDown")
    own.wait_drained()
    with full(own.redis):
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
        with callers(call):
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
