"""Whether a replica of Postgres follows its primary, and how far it is behind."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from ops.feed_status import connect

# A replica that is well has what the primary had within this time, however idle the primary is.
CATCH_UP_SECONDS = 2.0
POLL_SECONDS = 0.1
COPY = "copy it from the primary again (`fanfare up` does that by itself)"


@dataclass(frozen=True)
class Replication:
    """What was found when a replica and its primary were looked at."""

    is_primary: bool = False
    """Whether the replica's address leads to the primary itself."""
    follows: bool = True
    """Whether the replica is one: a server that takes no writes of its own."""
    is_same_database: bool = True
    """Whether both are copies of one database."""
    streams: bool = True
    """Whether the replica is connected to its primary and receives WAL."""
    wal_is_gone: bool | None = False
    """Whether the primary has removed WAL that the replica needs, None if it does not say."""
    bytes_behind: int = 0
    """How much WAL the replica has yet to replay; negative if it has more than the primary."""
    seconds_behind: float | None = 0.0
    """How old the replica's state is, None if it has replayed no commit since its start."""


def verdict(found: Replication, max_seconds: float) -> tuple[str, bool]:
    """Return what to tell about a replica, and whether it is wrong.

    Args:
        found: what was found.
        max_seconds: how far it may be behind.
    """
    if found.is_primary:
        return "is the primary itself", False
    age = "an unknown time" if found.seconds_behind is None else f"{found.seconds_behind:.1f} s"
    behind = f"{age} and {found.bytes_behind:,} bytes behind"
    trouble = None
    if not found.follows:
        trouble = "takes writes of its own: it was promoted, or was never a replica"
    elif not found.is_same_database:
        trouble = f"is of another database than the primary: {COPY}"
    elif found.bytes_behind < 0:
        trouble = f"has {-found.bytes_behind:,} bytes that the primary has lost: {COPY}"
    elif found.wal_is_gone:
        trouble = f"does not stream, {behind}; the WAL that it needs is gone: {COPY}"
    elif not found.streams:
        trouble = f"does not stream, {behind}: its log says why"
    elif found.seconds_behind is None or found.seconds_behind > max_seconds:
        trouble = f"streams, {behind}, more than {max_seconds:g} s"
    return trouble or f"streams, {behind}", trouble is not None


def look(primary_dsn: str, replica_dsn: str) -> Replication:
    """Look at a replica and its primary, for CATCH_UP_SECONDS if it is behind.

    Raises:
        psycopg.Error: one of the two does not answer.
    """
    with connect(primary_dsn) as primary, connect(replica_dsn) as replica:
        start = "SELECT pg_postmaster_start_time(), inet_server_port()"
        if _row(primary, start) == _row(replica, start):
            return Replication(is_primary=True)
        if _row(replica, "SELECT pg_is_in_recovery()") == (False,):
            return Replication(follows=False)
        system = "SELECT system_identifier FROM pg_control_system()"
        if _row(primary, system) != _row(replica, system):
            return Replication(is_same_database=False)
        caught_up = _catches_up(primary, replica)
        # In this order: the primary's end of the WAL, read last, is never the lower one.
        replayed, committed = _row(
            replica, "SELECT pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()"
        )
        # By the primary's clock, which the time of the commit is from.
        bytes_behind, seconds_behind = _row(
            primary,
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s::pg_lsn)::bigint,"
            " extract(epoch FROM clock_timestamp() - %s::timestamptz)::float",
            replayed,
            committed,
        )
        streams = _streams(replica)
        return Replication(
            streams=streams,
            wal_is_gone=None if streams else _wal_is_gone(primary, replica),
            bytes_behind=bytes_behind,
            # The time of the last commit says nothing where nothing has been committed since.
            seconds_behind=seconds_behind if caught_up is None else caught_up,
        )


def _catches_up(primary: psycopg.Connection, replica: psycopg.Connection) -> float | None:
    """Return how many seconds the replica took to replay what the primary has; None if too long."""
    (end,) = _row(primary, "SELECT pg_current_wal_lsn()::text")
    waited = 0.0
    while _row(replica, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end) != (True,):
        if waited >= CATCH_UP_SECONDS:
            return None
        time.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
    return waited


def _streams(replica: psycopg.Connection) -> bool:
    # The status is hidden from users without pg_read_all_stats, the row is not.
    return _row(
        replica,
        "SELECT count(*) > 0 FROM pg_stat_wal_receiver WHERE coalesce(status, '') IN ('', %s)",
        "streaming",
    ) == (True,)


def _wal_is_gone(primary: psycopg.Connection, replica: psycopg.Connection) -> bool | None:
    """Return whether the primary has no file of the WAL that the replica needs next."""
    (received,) = _row(
        replica,
        "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text",
    )
    try:
        # Without the first eight letters, the WAL's timeline, which a promotion changes.
        return _row(
            primary,
            "SELECT count(*) = 0 FROM pg_ls_waldir()"
            " WHERE substr(name, 9) = substr(pg_walfile_name(%s::pg_lsn), 9)",
            received,
        ) == (True,)
    except psycopg.errors.InsufficientPrivilege:
        return None  # only for members of pg_monitor


def _row(connection: psycopg.Connection, query: LiteralString, *parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None  # noqa: S101 - each query here has one row
    return row
