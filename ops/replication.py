"""Checks whether a replica of Postgres follows its primary, and how far it is behind."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg

from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage import postgres
from ops.database import SQL, connect

# A healthy replica replays everything that the primary has written within this time, even if the
# primary is idle.
CATCH_UP_SECONDS = 2.0
POLL_SECONDS = 0.1
COPY_AGAIN = "copy it from the primary again (`fanfare up` does that by itself)"


@dataclass(frozen=True)
class ReplicaState:
    """The state of a replica compared with its primary; the defaults are those of a healthy one."""

    is_primary: bool = False
    """Whether the replica's address leads to the primary itself."""
    is_standby: bool = True
    """Whether it is in recovery, and takes no writes of its own."""
    is_same_database: bool = True
    """Whether both are copies of one database."""
    is_streaming: bool = True
    """Whether it is connected to its primary and receives WAL."""
    is_wal_removed: bool | None = False
    """Whether the primary has removed WAL that the replica needs; None if it is not known."""
    bytes_behind: int = 0
    """How much WAL it has yet to replay; negative if it has more than the primary."""
    seconds_behind: float | None = 0.0
    """How old its data are; None if it has replayed no commit since its start."""


def describe_replica(state: ReplicaState, max_seconds: float) -> tuple[str, str]:
    """Return the state of a replica in words, and what to do, which is empty if nothing is wrong.

    Args:
        state: what check_replica() found.
        max_seconds: how far it may be behind.
    """
    if state.is_primary:
        return "is the primary itself", ""
    age = "an unknown time" if state.seconds_behind is None else f"{state.seconds_behind:.1f} s"
    behind = f"{age} and {state.bytes_behind:,} bytes behind"
    text, cure = f"streams, {behind}", ""
    if not state.is_standby:
        text = "takes writes of its own: it was promoted, or never was a replica"
        cure = "set FANFARE_POSTGRES_REPLICA_DSN to a replica of the primary"
    elif not state.is_same_database:
        text, cure = "is a copy of another database than the primary's", COPY_AGAIN
    elif state.bytes_behind < 0:
        text = f"has {-state.bytes_behind:,} bytes that the primary has lost"
        cure = COPY_AGAIN
    elif state.is_wal_removed:
        text = f"does not stream, {behind}, and the WAL that it needs is gone"
        cure = COPY_AGAIN
    elif not state.is_streaming:
        text, cure = f"does not stream, {behind}", "see its log, which has the cause"
    elif state.seconds_behind is None or state.seconds_behind > max_seconds:
        text = f"streams, {behind}, more than {max_seconds:g} s"
        cure = "resume its replay if it is paused, or find the query or disk that delays it"
    return text, cure


def check_replica(primary_dsn: str, replica_dsn: str) -> ReplicaState:
    """Compare a replica with its primary; takes up to CATCH_UP_SECONDS if the replica is behind.

    Raises:
        psycopg.Error: one of the two does not answer.
    """
    with (
        connect(primary_dsn) as primary,
        # The replica may be behind a pooler, since these statements need no session of their own.
        postgres.connect(replica_dsn, "cli", DEFAULT_SILENCE_SECONDS) as replica,
    ):
        if _query(primary, "server_identity") == _query(replica, "server_identity"):
            return ReplicaState(is_primary=True)
        if not _query(replica, "is_in_recovery")[0]:
            return ReplicaState(is_standby=False)
        if _query(primary, "system_identifier") != _query(replica, "system_identifier"):
            return ReplicaState(is_same_database=False)
        catch_up_seconds = _wait_caught_up(primary, replica)
        # The replica's LSN is read first. The primary's only grows, so a negative difference means
        # that the primary has lost WAL.
        lsn, committed_at = _query(replica, "replayed")
        bytes_behind, seconds_behind = _query(
            primary, "distance_behind", lsn=lsn, committed_at=committed_at
        )
        (is_streaming,) = _query(replica, "is_streaming")
        return ReplicaState(
            is_streaming=is_streaming,
            is_wal_removed=None if is_streaming else _is_wal_removed(primary, replica),
            bytes_behind=bytes_behind,
            # The age of the last commit is not the lag if nothing has been committed since.
            seconds_behind=seconds_behind if catch_up_seconds is None else catch_up_seconds,
        )


def _wait_caught_up(primary: psycopg.Connection, replica: psycopg.Connection) -> float | None:
    """Wait until the replica has replayed what the primary has now.

    Returns:
        How many seconds that took; None if it takes longer than CATCH_UP_SECONDS.
    """
    (lsn,) = _query(primary, "current_lsn")
    waited = 0.0
    while not _query(replica, "has_replayed", lsn=lsn)[0]:
        if waited >= CATCH_UP_SECONDS:
            return None
        time.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
    return waited


def _is_wal_removed(primary: psycopg.Connection, replica: psycopg.Connection) -> bool | None:
    """Return whether the primary lacks the WAL that the replica needs; None if it is not known.

    Only members of pg_monitor can list the WAL of the primary.
    """
    (lsn,) = _query(replica, "next_needed_lsn")
    try:
        return bool(_query(primary, "is_wal_removed", lsn=lsn)[0])
    except psycopg.errors.InsufficientPrivilege:
        return None


def _query(connection: psycopg.Connection, name: str, **parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(SQL[name], parameters).fetchone()
    assert row is not None  # noqa: S101 - each of these queries has one row
    return row
