"""Begins a new history, for damage that Fanfare cannot notice by itself.

A history is an unbroken line of commits of the primary. Everything that is cached belongs to one
history, so in a new history all of it is built again.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from psycopg.rows import class_row

from core.settings import Settings
from core.storage.redis_scan import unlink_all
from ops.database import SQL, connect
from ops.errors import OpsError
from ops.failures import failures_as_ops_errors
from ops.redis import open_redis
from write_service.outbox import wake_relay

SCAN_COUNT = 10_000


@dataclass(frozen=True)
class HistoryState:
    """What Postgres knows of its histories."""

    history: str
    """The newest history; empty if none has begun."""
    is_valid: bool
    """Whether the history goes on; a restart, restore or failover of Postgres ends it."""
    heartbeat_seconds: float
    """Time since the last heartbeat of a relay."""
    ended: int
    """How many histories have ended before it."""


@failures_as_ops_errors()
def read_history_state(settings: Settings) -> HistoryState:
    """Return what Postgres knows of its histories.

    Raises:
        OpsError: Postgres does not answer, or was never migrated.
    """
    with connect(settings.session_dsn()) as connection:
        cursor = connection.cursor(row_factory=class_row(HistoryState))
        state = cursor.execute(SQL["history_state"]).fetchone()
    if state is None:
        raise OpsError("the table relay_state is empty; run `fanfare migrate`")
    return state


@failures_as_ops_errors()
def begin_history(settings: Settings) -> str:
    """Begin a new history, wake the relay, and return the history.

    Raises:
        OpsError: Postgres does not answer.
    """
    with connect(settings.session_dsn()) as connection:
        row = connection.execute(SQL["begin_history"], {"forced": True}).fetchone()
        wake_relay(connection)
    return str(row[0]) if row is not None else ""


@failures_as_ops_errors()
def count_keys(settings: Settings) -> Counter[str]:
    """Return how many keys each history has in Redis.

    Raises:
        OpsError: Redis does not answer.
    """
    pattern = _key_pattern(settings.redis_prefix)
    with open_redis(settings) as redis:
        keys = redis.scan_iter(f"{settings.redis_prefix}*", count=SCAN_COUNT)
        return Counter(match[1].decode() for match in map(pattern.match, keys) if match)


@failures_as_ops_errors()
def remove_other_keys(settings: Settings, history: str) -> int:
    """Remove the keys of all other histories from Redis; return how many were removed.

    Raises:
        OpsError: Redis does not answer.
    """
    pattern = _key_pattern(settings.redis_prefix)

    def is_other(key: bytes) -> bool:
        match = pattern.match(key)
        return match is not None and match[1] != history.encode()

    with open_redis(settings) as redis:
        return unlink_all(redis, f"{settings.redis_prefix}*", only=is_other)


def _key_pattern(prefix: str) -> re.Pattern[bytes]:
    """Return a pattern for the beginning of a key; its group is the history of the key."""
    return re.compile(re.escape(prefix.encode()) + rb"([0-9a-f]{10}):")
