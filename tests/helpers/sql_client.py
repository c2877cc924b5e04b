"""Queries to the primary Postgres."""

from __future__ import annotations

from typing import Any

import psycopg


class SqlClient:
    """Runs each query in a connection of its own, so that it survives restarts of the server."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, which is committed at once."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []
