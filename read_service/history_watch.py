"""Watches which history the database is at, and whether the replica is near enough to be asked."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg

from core.errors import DatabaseUnavailableError, OverloadedError
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import Database
from core.storage.queries import load_queries
from read_service.cache import Cache
from read_service.store import Store

LOG = logging.getLogger(__name__)
SQL = load_queries("read_service")
CHECK_SECONDS = 1.0


class HistoryWatch:
    """Has the cache follow the primary's history, and the store leave out a bad replica."""

    def __init__(
        self,
        primary: Database,
        replica: Database,
        cache: Cache,
        store: Store,
        max_lag_seconds: float,
    ) -> None:
        """Watch these; replica: the primary where there is none."""
        self._primary = primary
        self._replica = replica
        self._cache = cache
        self._store = store
        self._max_lag_seconds = max_lag_seconds

    async def run(self) -> None:
        """Check once a second, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Look at both servers; what does not answer changes nothing."""
        here = await _look(self._primary, "current_history")
        if here is None:
            return
        history, seen_at = here
        if history != self._cache.history:
            if history is None:
                METRICS.add(Metric.HISTORY_UNKNOWN)
                LOG.warning("Postgres restarted; Redis is not trusted until a new history begins")
            else:
                METRICS.add(Metric.HISTORY_MOVED, self._cache.history is not None)
                LOG.info("reading timelines of history=%s", history)
            self._cache.enter(history)
        if self._replica is not self._primary:
            there = await _look(self._replica, "replicated_history")
            if there is not None:
                lag = (seen_at - there[1]).total_seconds()
                self._use_replica(is_same=there[0] == history, lag_seconds=lag)

    def _use_replica(self, *, is_same: bool, lag_seconds: float) -> None:
        is_used = is_same and lag_seconds <= self._max_lag_seconds
        if is_used == self._store.is_replica_used:
            return
        self._store.is_replica_used = is_used
        if is_used:
            LOG.info("replica answers queries again: lag_seconds=%.1f", lag_seconds)
        else:
            METRICS.add(Metric.REPLICA_LEFT_OUT)
            LOG.warning(
                "replica is left out, the primary answers: lag_seconds=%.1f same_history=%s",
                *(lag_seconds, is_same),
            )


async def _look(database: Database, query: str) -> Any:
    try:
        async with database.connection() as connection:
            cursor = await connection.execute(SQL[query])
            return await cursor.fetchone()
    except (DatabaseUnavailableError, OverloadedError):
        return None
    except psycopg.Error as error:
        LOG.warning("cannot ask Postgres for the history: %s", error)
        return None
