"""Queries to the primary Postgres."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg


class SqlClient:
    """Keeps connections from query to query, because tests ask in loops, and logging in is slow.

    Several threads may use it. After a restart of the server it connects again.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: list[psycopg.Connection[tuple[Any, ...]]] = []

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, which is committed at once."""
        with self._connection() as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        connection = self._take()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def _take(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return an idle connection that the server has not closed, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            # Nothing arrives on an idle connection but its end.
            if not select.select([connection], [], [], 0)[0]:
                return connection
            connection.close()
        # Without prepared statements, whose plans a restored database may not fit.
        return psycopg.connect(self._dsn, autocommit=True, prepare_threshold=None)
