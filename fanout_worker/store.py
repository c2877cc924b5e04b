"""Postgres, as the fan-out sees it: who follows whom, and where the primary is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import psycopg

from core.feed.history import Moment, OtherHistoryError
from core.storage.postgres import HAS_REACHED, BlockingConnection, connect
from core.storage.queries import load_queries
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

    def now(self) -> tuple[Moment, int]:
        """Return the primary's moment of now and the newest relay epoch.

        Raises:
            psycopg.OperationalError: Postgres does not answer; so does every method here.
            OtherHistoryError: no history has begun on this server yet.
        """
        row = self._connect(self._primary_dsn).execute(SQL["now"]).fetchone()
        if row is None:
            raise psycopg.OperationalError("relay_state is empty: run `fanfare migrate`")
        history, lsn, epoch = row
        if history is None:
            raise OtherHistoryError
        return Moment(history, lsn), epoch

    def ended_histories(self) -> list[str]:
        """Return the histories that the database has left behind."""
        rows = self._connect(self._primary_dsn).execute(SQL["ended_histories"]).fetchall()
        return [row[0] for row in rows]

    def followers(
        self, user_ids: Sequence[int], moment: Moment, limit: int
    ) -> Iterator[tuple[int, Followers]]:
        """Yield each user with their followers, from a Postgres that has reached the moment.

        Raises OtherHistoryError where the primary is at another history. Of a user with more than
        the limit, one more than it: the reader sees that some are missing.
        """
        parameters = {"user_ids": list(user_ids), "limit": limit + 1}
        with self._at(moment).cursor() as cursor:
            # Row by row, for together they may be larger than memory.
            for user_id, ids in cursor.stream(SQL["followers"], parameters, binary=True):
                yield user_id, _ids(ids)

    def follower_pages(self, user_id: int, moment: Moment) -> Iterator[Followers]:
        """Yield a user's followers in pages, each from a Postgres that has reached the moment.

        The pages are of different moments. Who followed all the time is on one of them.
        """
        parameters = {"user_id": user_id, "before": None, "limit": PAGE}
        while True:
            row = self._at(moment).execute(SQL["follower_page"], parameters, binary=True)
            before, ids = row.fetchone() or (None, None)
            if before is None:
                return
            parameters["before"] = before
            yield _ids(ids)

    def _at(self, moment: Moment) -> BlockingConnection:
        if self._replica_dsn != self._primary_dsn:
            try:
                replica = self._connect(self._replica_dsn)
                if _has_reached(replica, moment):
                    return replica
            except psycopg.OperationalError as error:
                LOG.warning("the replica does not answer, the primary does its work: %s", error)
        primary = self._connect(self._primary_dsn)
        if not _has_reached(primary, moment):
            raise OtherHistoryError
        return primary

    def _connect(self, dsn: str) -> BlockingConnection:
        connection = self._connections.get(dsn)
        if connection is None or connection.closed:
            connection = connect(dsn, "worker", self._silence_seconds)
            self._connections[dsn] = connection
        return connection


def _has_reached(connection: BlockingConnection, moment: Moment) -> bool:
    parameters = {"history": moment.history, "lsn": moment.lsn}
    return connection.execute(HAS_REACHED, parameters).fetchone() == (True,)


def _ids(packed: bytes | None) -> Followers:
    return np.frombuffer(packed or b"", ">i8").astype(np.int64)
