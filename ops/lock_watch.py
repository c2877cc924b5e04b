"""Finds out which sessions of Postgres keep another session waiting for a lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

import psycopg

from ops.database import SQL, connect

POLL_SECONDS = 0.2


class LockWatch:
    """Watches a session over a connection of its own, from a thread, within a `with` statement.

    Postgres can say who blocks a session only while it waits. An error that says that the wait was
    too long does not name the others.
    """

    def __init__(self, dsn: str, pid: int, report: Callable[[str], None]) -> None:
        """Prepare to watch.

        Args:
            dsn: the database.
            pid: the id of the session's process in Postgres.
            report: called, in the thread, with a description of the sessions that block it,
                whenever these are others than before.
        """
        self._dsn = dsn
        self._pid = pid
        self._report = report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.holders: dict[int, str] = {}
        """The sessions seen last: their process ids, and what is known of each."""

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the watch."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            with connect(self._dsn) as connection:
                while not self._stopping.wait(POLL_SECONDS):
                    self._look(connection)
        except psycopg.Error:
            return  # what is watched is a connection to the same server, and will report it

    def _look(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        rows = connection.execute(SQL["blocking_sessions"], {"pid": self._pid}).fetchall()
        if not rows:
            return
        before = self.holders.keys()
        self.holders = {int(str(pid)): str(told) for pid, told in rows}
        if self.holders.keys() != before:
            self._report(", ".join(self.holders.values()))
