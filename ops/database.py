"""Connections to Postgres for the operator's commands, and the SQL that they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage.postgres import BlockingConnection, connect_session
from core.storage.queries import load_queries

SQL = load_queries("ops")

STATEMENT_SECONDS = 3600.0


@contextmanager
def connect(dsn: str) -> Iterator[BlockingConnection]:
    """Yield an autocommit connection whose statements may take up to STATEMENT_SECONDS.

    Connecting has the same time limit as in the services. TCP keepalives detect within seconds that
    the server is gone, however long a statement may take.

    Raises:
        SharedSessionError: the DSN leads through a pooler.
    """
    with connect_session(dsn, "cli", DEFAULT_SILENCE_SECONDS) as connection:
        connection.execute(SQL["remove_timeouts"])
        connection.silence_seconds = STATEMENT_SECONDS
        yield connection
