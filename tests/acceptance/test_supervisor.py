"""A whole system under a supervisor, as `fanfare up` runs it: servers that die are restarted."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from embedded.stack import default_parts_dir
from embedded.supervisor import Supervisor
from ops.system import System

KAFKA_DISK = "64m"
WAL_SEGMENTS = 20  # of 16 MB: more than the embedded primary keeps for its replica


class Supervised(Fanfare):
    """Clients of a system under a supervisor, and the reports of the supervisor."""

    def __init__(self, system: System, kafka_disk: Path | None) -> None:
        super().__init__(system)
        self.kafka_disk = kafka_disk
        """Where the small file system of Kafka is; None if this machine cannot mount one."""
        self.told: list[str] = []

    def wait_told(self, text: str, since: int) -> None:
        """Wait until one of the reports since this index contains the text."""
        wait_until(lambda: self.has_told(text, since), f"reported: {text}", 90)

    def has_told(self, text: str, since: int) -> bool:
        """Return whether one of the reports since this index contains the text."""
        return any(text in lines for lines in self.told[since:])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """Return a system with a replica, whose Kafka has a small file system of its own."""
    folder = tmp_path_factory.mktemp("watched")
    disk = folder / "kafka" / "data"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={KAFKA_DISK}", "fanfare-test", str(disk)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        with (
            System(folder, default_parts_dir(), replica=True) as system,
            Supervised(system, disk if mounted else None) as clients,
            ThreadPoolExecutor(1) as pool,
        ):
            supervisor = Supervisor(system.servers, clients.told.append)
            watch = pool.submit(supervisor.watch)
            yield clients
            supervisor.stop()
            watch.result()
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def test_servers_that_die_are_reported_and_restarted(watched: Supervised) -> None:
    """All servers may die at once, as when memory runs out, and no acknowledged tweet is lost."""
    author = watched.user()
    reader = watched.user(author)
    watched.tweets(author, 10)
    told = len(watched.told)
    servers = watched.system.servers
    for server in servers:
        os.kill(server.pid, signal.SIGKILL)
    for server in servers:
        watched.wait_told(f"{server.name} was ended by SIGKILL. ", told)
    for server in servers:
        watched.wait_told(f"{server.name} runs again.", told)
    watched.tweets(author, 10)
    watched.wait_drained()
    watched.wait_exact(reader)


def test_kafka_recovers_from_a_full_disk(watched: Supervised) -> None:
    """Kafka exits on a full disk, is restarted until there is room, and then gets every event."""
    disk = watched.kafka_disk
    if disk is None:
        pytest.skip("this machine cannot mount a small file system")
    author = watched.user()
    reader = watched.user(author)
    watched.wait_drained()
    told = len(watched.told)
    ballast = disk / "ballast"
    _fill(ballast)
    written = 0
    while not watched.has_told("Kafka exited with status", told):
        # Meanwhile commands are answered, and their events wait in the outbox.
        watched.tweets(author, 100)
        written += 100
        assert written < 100_000
    watched.wait_told("No space left on device", told)
    assert watched.feed.outbox_backlog().events > 0
    ballast.unlink()
    watched.wait_told("Kafka runs again.", told)
    watched.wait_drained()
    watched.wait_exact(reader)


def test_a_replica_whose_wal_is_gone_is_copied_again(watched: Supervised) -> None:
    """A replica whose WAL is gone is reported and copied from the primary again."""
    dsn = watched.settings.replica_dsn()
    told = len(watched.told)
    ((receiver,),) = _ask(dsn, "SELECT pid FROM pg_stat_wal_receiver")
    os.kill(receiver, signal.SIGSTOP)
    try:
        user = watched.user()
        for _ in range(WAL_SEGMENTS):
            watched.sql("SELECT pg_logical_emit_message(false, 'test', 'to switch from')")
            watched.sql("SELECT pg_switch_wal()")
        watched.sql("CHECKPOINT")
    finally:
        os.kill(receiver, signal.SIGCONT)
    watched.wait_told("Postgres' replica was stopped: it must be copied", told)
    watched.wait_told("has already been removed", told)
    watched.wait_told("Postgres' replica runs again.", told)
    streams = "SELECT status FROM pg_stat_wal_receiver"
    wait_until(lambda: _ask(dsn, streams) == [("streaming",)], "the replica streams")
    assert _ask(dsn, "SELECT id FROM users WHERE id = %s", user.id) == [(user.id,)]


def _fill(path: Path) -> None:
    """Write to a file until its disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _ask(dsn: str, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query, parameters).fetchall()
