"""Postgres, as the fan-out reads it: who follows whom, and the current history and LSN."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import psycopg

from core.feed.history import Moment, OtherHistoryError
from core.storage.postgres import HAS_REACHED, BlockingConnection, connect
from core.storage.queries import load_queries
from fanout_worker.protocols import Followers

LOG = logging.getLogger(__name__)
SQL = load_queries("fanout_worker")

# The followers on one page; 8 MB of ids.
PAGE_SIZE = 1_000_000


class PostgresFollowerStore:
    """The FollowerStore protocol on a primary and its replica.

    Followers are read from the replica if it has reached the moment, otherwise from the primary.
    """

    def __init__(
        self,
        primary_dsn: str,
        replica_dsn: str,
        timeout_seconds: float,
        page_size: int = PAGE_SIZE,
    ) -> None:
        """Connect when first used.

        Args:
            primary_dsn: The primary.
            replica_dsn: The replica; the primary's DSN if there is none.
            timeout_seconds: How long a server may take to answer.
            page_size: How many followers follower_pages() puts on a page.
        """
        self._primary_dsn = primary_dsn
        self._replica_dsn = replica_dsn
        self._timeout_seconds = timeout_seconds
        self._page_size = page_size
        self._connections: dict[str, BlockingConnection] = {}

    def close(self) -> None:
        """See FollowerStore."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def now(self) -> tuple[Moment, int]:
        """See FollowerStore."""
        row = self._connect(self._primary_dsn).execute(SQL["now"]).fetchone()
        if row is None:
            raise psycopg.OperationalError("relay_state is empty; run `fanfare migrate`")
        history, lsn, epoch = row
        if history is None:
            raise OtherHistoryError
        return Moment(history, lsn), epoch

    def ended_histories(self) -> list[str]:
        """See FollowerStore."""
        rows = self._connect(self._primary_dsn).execute(SQL["ended_histories"]).fetchall()
        return [row[0] for row in rows]

    def followers(
        self, user_ids: Sequence[int], moment: Moment, limit: int
    ) -> Iterator[tuple[int, Followers]]:
        """See FollowerStore."""
        parameters = {"user_ids": list(user_ids), "limit": limit + 1}
        with self._connect_at(moment) as connection, connection.cursor() as cursor:
            # Row by row, because all rows together may not fit into memory.
            for user_id, packed in cursor.stream(SQL["followers"], parameters, binary=True):
                yield user_id, _unpack_ids(packed)

    def follower_pages(self, user_id: int, moment: Moment) -> Iterator[Followers]:
        """See FollowerStore."""
        parameters = {"user_id": user_id, "before": None, "limit": self._page_size}
        while True:
            with self._connect_at(moment) as connection:
                row = connection.execute(SQL["follower_page"], parameters, binary=True).fetchone()
            before, packed = row or (None, None)
            if before is None:
                return
            parameters["before"] = before
            yield _unpack_ids(packed)

    @contextmanager
    def _connect_at(self, moment: Moment) -> Iterator[BlockingConnection]:
        """Yield a connection to a server that has reached the moment, in a transaction.

        Outside of a transaction, a pooler could send the next statement to another server.
        """
        connection = self._begin_at(moment)
        try:
            yield connection
        finally:
            if not connection.closed:
                connection.commit()

    def _begin_at(self, moment: Moment) -> BlockingConnection:
        if self._replica_dsn != self._primary_dsn:
            try:
                replica = self._connect(self._replica_dsn)
                if _begin_if_reached(replica, moment):
                    return replica
            except psycopg.OperationalError as error:
                LOG.warning("replica does not answer; reading from the primary: error=%s", error)
        primary = self._connect(self._primary_dsn)
        if not _begin_if_reached(primary, moment):
            raise OtherHistoryError
        return primary

    def _connect(self, dsn: str) -> BlockingConnection:
        connection = self._connections.get(dsn)
        if connection is None or connection.closed:
            connection = connect(dsn, "worker", self._timeout_seconds)
            self._connections[dsn] = connection
        return connection


def _begin_if_reached(connection: BlockingConnection, moment: Moment) -> bool:
    """Begin a transaction if the server has reached the moment, and return whether it has."""
    connection.execute("BEGIN")
    parameters = {"history": moment.history, "lsn": moment.lsn}
    has_reached = connection.execute(HAS_REACHED, parameters).fetchone() == (True,)
    if not has_reached:
        connection.commit()
    return has_reached


def _unpack_ids(packed: bytes | None) -> Followers:
    return np.frombuffer(packed or b"", ">i8").astype(np.int64)
