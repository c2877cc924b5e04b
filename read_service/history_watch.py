"""Watches the history of the database, and leaves out a replica that lags too far."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from core.errors import DatabaseUnavailableError, OverloadedError
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres_pool import Database
from core.storage.queries import load_queries
from read_service.cache import CacheConnection
from read_service.databases import Databases

LOG = logging.getLogger(__name__)
SQL = load_queries("read_service")
CHECK_SECONDS = 1.0


@dataclass(frozen=True)
class RelayState:
    """What a server says about the relay, which writes a heartbeat once a second."""

    history: str | None
    """The history of the database; None if none has begun on this server since it started."""
    seen_at: datetime
    """The time of the relay's last heartbeat that the server has."""


class HistoryWatch:
    """Has reads use the primary's history in Redis, and leaves out a replica that lags too far."""

    def __init__(
        self,
        primary: Database,
        replica: Database,
        cache: CacheConnection,
        databases: Databases,
        max_lag_seconds: float,
    ) -> None:
        """Watch these servers; without a replica, pass the primary twice."""
        self._primary = primary
        self._replica = replica
        self._cache = cache
        self._databases = databases
        self._max_lag_seconds = max_lag_seconds
        self.replica_lag_seconds = math.nan
        """How much older the relay's last heartbeat is on the replica than on the primary. While
        the replica does not answer, its last known one counts. NaN without a replica."""
        self._replica_seen_at: datetime | None = None

    async def run(self) -> None:
        """Check once a second, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Ask both servers. If one does not answer, what depends on its answer stays the same."""
        here = await _relay_state(self._primary, "current_history")
        if here is None:
            return
        if here.history != self._cache.history:
            self._enter(here.history)
        if self._replica is not self._primary:
            there = await _relay_state(self._replica, "replicated_history")
            if there is not None:
                self._replica_seen_at = there.seen_at
            if self._replica_seen_at is not None:
                age = here.seen_at - self._replica_seen_at
                self.replica_lag_seconds = age.total_seconds()
            if there is not None:
                lag = (here.seen_at - there.seen_at).total_seconds()
                self._use_replica(is_same=there.history == here.history, lag_seconds=lag)

    def _enter(self, history: str | None) -> None:
        if history is None:
            METRICS.add(Metric.HISTORY_UNKNOWN)
            LOG.warning("Postgres restarted; Redis is not trusted until a new history begins")
        else:
            METRICS.add(Metric.HISTORY_MOVED, self._cache.history is not None)
            LOG.info("reading timelines of history=%s", history)
        self._cache.enter(history)

    def _use_replica(self, *, is_same: bool, lag_seconds: float) -> None:
        is_used = is_same and lag_seconds <= self._max_lag_seconds
        if is_used == self._databases.is_replica_used:
            return
        self._databases.is_replica_used = is_used
        if is_used:
            LOG.info("replica answers queries again: lag_seconds=%.1f", lag_seconds)
        else:
            METRICS.add(Metric.REPLICA_LEFT_OUT)
            LOG.warning(
                "replica is left out: lag_seconds=%.1f same_history=%s",
                *(lag_seconds, is_same),
            )


async def _relay_state(server: Database, query: str) -> RelayState | None:
    """Return what a server says, or None if it does not answer."""
    try:
        async with (
            server.connection() as connection,
            connection.cursor(row_factory=class_row(RelayState)) as cursor,
        ):
            await cursor.execute(SQL[query])
            return await cursor.fetchone()
    except (DatabaseUnavailableError, OverloadedError):
        return None
    except psycopg.Error as error:
        LOG.warning("cannot read the history from Postgres: error=%s", error)
        return None
