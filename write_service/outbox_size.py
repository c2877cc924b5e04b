"""How much is in the outbox, looked up in the background for the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from core.storage.postgres import BlockingConnection, connect
from core.storage.queries import load_queries

SQL = load_queries("write_service")
# More unsent events than this are not counted.
MAX_COUNTED = 1_000_000


@dataclass(frozen=True)
class OutboxSize:
    """What waits in the outbox, and how large it is."""

    unsent_events: int
    """At most MAX_COUNTED."""
    oldest_seconds: float
    """Age of the unsent event with the lowest id; 0 if there is none."""
    rows: int
    """An estimate of Postgres."""


class OutboxMeter:
    """Looks up the size of the outbox, over a connection of its own."""

    def __init__(self, dsn: str, silence_seconds: float, is_leader: Callable[[], bool]) -> None:
        """Connect when first asked.

        Args:
            dsn: the primary.
            silence_seconds: when to give up the connection if Postgres does not answer.
            is_leader: returns whether the relay of this process is the active one. Of all
                processes, only this one asks Postgres.
        """
        self._dsn = dsn
        self._silence_seconds = silence_seconds
        self._is_leader = is_leader
        self._connection: BlockingConnection | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def size(self) -> OutboxSize | None:
        """Return the size; None if the active relay is in another process.

        Raises:
            psycopg.Error: Postgres does not answer in time; the next call connects again.
        """
        if not self._is_leader():
            self.close()
            return None
        if self._connection is None:
            self._connection = connect(self._dsn, "metrics", self._silence_seconds)
        try:
            with self._connection.transaction():
                self._connection.execute(SQL["limit_statement"])
                cursor = self._connection.cursor(row_factory=class_row(OutboxSize))
                return cursor.execute(SQL["outbox_size"], {"limit": MAX_COUNTED}).fetchone()
        except psycopg.Error:
            self.close()
            raise
