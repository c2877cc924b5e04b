"""Postgres, as the fan-out sees it: who follows whom, and where the primary is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import psycopg

from core.postgres import HAS_REPLAYED, BlockingConnection, connect
from core.queries import load_queries
from fanout_worker.followers import Followers

LOG = logging.getLogger(__name__)
SQL = load_queries("fanout_worker")

# Followers read at once of a user who has too many to keep: 8 MB.
PAGE = 1_000_000


class Store:
    """Connections to the primary and the replica, made when first needed and after they break."""

    def __init__(self, primary_dsn: str, replica_dsn: str, silence_seconds: float) -> None:
        self._primary_dsn = primary_dsn
        self._replica_dsn = replica_dsn
        self._silence_seconds = silence_seconds
        self._connections: dict[str, BlockingConnection] = {}

    def close(self) -> None:
        """Close the connections; the next use makes new ones."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def now(self) -> tuple[int, int]:
        """Return the primary's WAL position and the newest relay epoch.

        Raises psycopg.OperationalError, as every method here, when Postgres does not answer.
        """
        row = self._connect(self._primary_dsn).execute(SQL["now"]).fetchone()
        if row is None:
            raise psycopg.OperationalError("relay_state is empty: run `fanfare migrate`")
        return int(row[0]), int(row[1])

    def followers(
        self, user_ids: Sequence[int], wal_position: int, limit: int
    ) -> Iterator[tuple[int, Followers]]:
        """Yield each user with their followers, from a Postgres that has the position.

        Of a user with more than the limit, one more than it: the reader sees that some are missing.
        """
        parameters = {"user_ids": list(user_ids), "limit": limit + 1}
        with self._at(wal_position).cursor() as cursor:
            # Row by row, for together they may be larger than memory.
            for user_id, ids in cursor.stream(SQL["followers"], parameters, binary=True):
                yield user_id, _ids(ids)

    def follower_pages(self, user_id: int, wal_position: int) -> Iterator[Followers]:
        """Yield a user's followers in pages, each from a Postgres that has the position.

        The pages are of different moments. Who followed all the time is on one of them.
        """
        parameters = {"user_id": user_id, "before": None, "limit": PAGE}
        while True:
            row = self._at(wal_position).execute(SQL["follower_page"], parameters, binary=True)
            before, ids = row.fetchone() or (None, None)
            if before is None:
                return
            parameters["before"] = before
            yield _ids(ids)

    def _at(self, wal_position: int) -> BlockingConnection:
        if self._replica_dsn != self._primary_dsn:
            try:
                replica = self._connect(self._replica_dsn)
                parameters = {"wal_position": wal_position}
                if replica.execute(HAS_REPLAYED, parameters).fetchone() == (True,):
                    return replica
            except psycopg.OperationalError as error:
                LOG.warning("the replica does not answer, the primary does its work: %s", error)
        return self._connect(self._primary_dsn)

    def _connect(self, dsn: str) -> BlockingConnection:
        connection = self._connections.get(dsn)
        if connection is None or connection.closed:
            connection = connect(dsn, "worker", self._silence_seconds)
            self._connections[dsn] = connection
        return connection


def _ids(packed: bytes | None) -> Followers:
    return np.frombuffer(packed or b"", ">i8").astype(np.int64)
