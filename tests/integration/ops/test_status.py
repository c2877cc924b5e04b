"""What `fanfare status` reports of a running system whose parts fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from ops.system import System


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with a replica, whose parts these tests break."""
    with Fanfare(start_system(replica=True)) as clients:
        yield clients


def _status(own: Fanfare) -> tuple[int, str, str]:
    status = own.command("status")
    assert "Traceback" not in status.stderr
    return status.returncode, status.stdout, status.stderr.strip()


def test_a_healthy_system_is_right(own: Fanfare) -> None:
    """Status exits with 0 and shows the replica."""
    own.user()
    status, table, wrong = _status(own)
    assert (status, wrong) == (0, ""), table
    assert "streams, 0.0 s and 0 bytes behind" in table


def test_a_worker_that_is_gone_is_not_right(own: Fanfare) -> None:
    """If no worker runs, the rows of the worker and of the partitions that have lag are wrong."""
    own.wait_drained()
    own.system.processes["worker"].kill()
    try:
        author = own.user()
        own.follow(own.user(), author)
        own.wait_sent()
        status, table, wrong = _status(own)
    finally:
        own.system.processes["worker"].start()
    assert status == 1
    assert "lag 1" in table
    assert "fan-out worker" in wrong
    assert "partition" in wrong
    own.wait_drained()


def test_a_kafka_that_is_gone_is_not_right(own: Fanfare) -> None:
    """If Kafka is down, its row is wrong, and so is that of the outbox once its events are old."""
    own.system.stack.kafka.kill()
    try:
        author = own.user()
        own.follow(own.user(), author)
        own.sql("UPDATE outbox SET created_at = now() - interval '1 minute' WHERE sent_at IS NULL")
        status, table, wrong = _status(own)
    finally:
        own.system.stack.kafka.start()
    assert status == 1
    assert "does not answer" in table
    assert wrong.startswith("Not right: outbox waiting, Kafka or Redis")
    own.wait_drained()


@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_a_server_that_is_gone_is_not_right(own: Fanfare, server: str) -> None:
    """A part whose server is gone has one row with the reason."""
    stopped = getattr(own.system.stack, server)
    stopped.kill()
    try:
        status, table, _ = _status(own)
    finally:
        stopped.start()
    assert status == 1
    assert "does not answer" in table


def test_a_replica_that_lags_is_not_right(own: Fanfare) -> None:
    """A replica that is further behind than FANFARE_MAX_REPLICA_LAG is wrong."""
    wait_until(lambda: _status(own)[0] == 0, "all is right again", 60)
    _on_replica(own, "SELECT pg_wal_replay_pause()")
    own.user()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FANFARE_MAX_REPLICA_LAG", "0.5")
            status, table, wrong = _status(own)
    finally:
        _on_replica(own, "SELECT pg_wal_replay_resume()")
    assert (status, wrong) == (1, "Not right: replica.")
    assert "bytes behind, more than 0.5 s" in table


def test_a_replica_whose_wal_is_gone_is_not_right(own: Fanfare) -> None:
    """A replica that can never catch up is wrong, and status says what to do."""
    replica = own.system.stack.replica
    replica.stop()
    own.user()
    for _ in range(20):  # segments of 16 MB each: more than the primary keeps
        own.sql("SELECT pg_logical_emit_message(false, 'test', 'to switch from')")
        own.sql("SELECT pg_switch_wal()")
    own.sql("CHECKPOINT")
    replica.start()
    status, table, wrong = _status(own)
    assert (status, wrong) == (1, "Not right: replica.")
    assert "does not stream" in table
    assert "the WAL that it needs is gone; copy it from the primary again" in table
    # For this reason the supervisor of `fanfare up` would restart it.
    assert "has already been removed" in (replica.restart_reason() or "")
    replica.start()
    wait_until(lambda: _status(own)[0] == 0, "the replica streams", 60)


def _on_replica(own: Fanfare, query: str) -> None:
    with psycopg.connect(own.settings.replica_dsn(), autocommit=True) as connection:
        connection.execute(query.encode())
