"""The outbox, as the relay sees it: unsent rows, the relay's epoch, and housekeeping.

The relay runs in a thread of its own, so this is the one place with a synchronous connection to
the primary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage.postgres import connect
from core.storage.queries import load_queries

LOG = logging.getLogger(__name__)
SQL = load_queries("write_service")

CHANNEL = "fanfare_outbox"
# Any number, as long as it is the same in every relay of this database.
RELAY_LOCK = 0x46414E46
# What is kept, in seconds: sent events, to be sent again should Kafka lose them; and request_ids
# after the deletion of their tweets.
KEEP_SENT_SECONDS = 7 * 86_400
KEEP_REQUESTS_SECONDS = 86_400
_KEPT = {"purge_sent": KEEP_SENT_SECONDS, "purge_requests": KEEP_REQUESTS_SECONDS}


class Row(NamedTuple):
    """An event that waits to be sent."""

    id: int
    key: int
    type: str
    payload: bytes
    created_at: datetime


@dataclass(frozen=True)
class Batch:
    """Events to be sent together."""

    rows: Sequence[Row]
    wal_position: int
    """Not before the commit of any of them."""


class Outbox:
    """A connection that may hold the relay's lock."""

    def __init__(self, dsn: str, silence_seconds: float = DEFAULT_SILENCE_SECONDS) -> None:
        """Connect; raises psycopg.OperationalError, as every method here, without an answer."""
        self._connection = connect(dsn, "relay", silence_seconds)
        self._silence_seconds = silence_seconds
        # By query, where the last purge ended.
        self._purged: dict[str, datetime] = {}
        # A marking that a crash of Postgres takes back is the last ones', and its events are sent
        # again in order, as after the crash of a relay: no marking needs to wait for the disk.
        self._connection.execute("SET synchronous_commit = off")

    def close(self) -> None:
        """Close the connection, and with it give up the lock."""
        self._connection.close()

    def lock(self) -> bool:
        """Return whether this connection holds the one lock that all relays compete for."""
        cursor = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (RELAY_LOCK,))
        if cursor.fetchone() == (True,):
            return True
        self._end_silent_relay()
        return False

    def _end_silent_relay(self) -> None:
        """End the session that has the lock if its relay is gone, and nothing told Postgres.

        That is so while a proxy that hangs keeps the connection open. A relay that works asks far
        more often; one that only stalled takes its place behind this one.
        """
        quiet = {"lock": RELAY_LOCK, "seconds": 2 * self._silence_seconds}
        ended = self._connection.execute(SQL["end_silent_relay"], quiet).fetchall()
        if ended:
            LOG.warning(
                "ended the session of a relay that was silent for %g s: pid=%d",
                *(2 * self._silence_seconds, ended[0][0]),
            )

    def listen(self) -> None:
        """Have wait() woken after every commit that leaves an event."""
        self._connection.execute(f"LISTEN {CHANNEL}")

    def wait(self, seconds: float) -> None:
        """Wait until an event is left, at most so long."""
        for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            pass

    def next_epoch(self) -> tuple[int, str]:
        """Return a relay epoch above all before, and the history that it belongs to.

        Begins a new history where Postgres was restarted, restored or failed over.
        """
        with self._durable():
            self._connection.execute(SQL["begin_history"], {"forced": False})
            row = self._connection.execute(SQL["next_epoch"]).fetchone()
        if row is None:
            raise RuntimeError("relay_state is empty: run `fanfare migrate`")
        return int(row[0]), str(row[1])

    def heartbeat(self, epoch: int, history: str) -> bool:
        """Note the LSN of now in the database; return whether the relay is still the newest.

        If the database is at an earlier epoch, it was put back to an older state while it ran: then
        a new history begins.
        """
        row = self._connection.execute(
            SQL["heartbeat"], {"epoch": epoch, "history": history}
        ).fetchone()
        newest = row[0] if row is not None else None
        if newest is None:
            LOG.error("epoch %d is unknown: the database was put back to an older state", epoch)
            with self._durable():
                self._connection.execute(SQL["begin_history"], {"forced": True})
        return bool(newest)

    def next_batch(self, limit: int, sent: Batch, epoch: int, history: str) -> Batch | None:
        """Mark a batch as sent, and return the events to be sent next; None after a newer relay.

        In one round trip, for a relay that keeps up does this for every few events. Of the
        unsent ones the first in order: never "those after the last", since ids are drawn before
        their transactions commit, and may appear late.
        """
        with self._connection.pipeline():
            marked = None
            if sent.rows:
                marks = {
                    "ids": [row.id for row in sent.rows],
                    "lsn": sent.wal_position,
                    "epoch": epoch,
                    "history": history,
                }
                marked = self._connection.execute(SQL["mark_sent"], marks)
            unsent = self._connection.execute(SQL["unsent_events"], {"limit": limit}, binary=True)
            # After the rows: it must not be before the commit of any of them.
            position = self._connection.execute(SQL["wal_position"])
            if marked is not None and marked.fetchone() is None:
                return None
            (wal_position,) = position.fetchone() or (0,)
            return Batch([Row(*row) for row in unsent.fetchall()], wal_position)

    def purge(self, limit: int) -> bool:
        """Delete old events, and old request_ids, at most limit of each, the oldest first.

        Returns:
            Whether there may be more of them, for the next call.
        """
        with self._connection.pipeline():
            cursors = [
                self._connection.execute(
                    SQL[query],
                    {"seconds": seconds, "limit": limit, "after": self._purged.get(query)},
                )
                for query, seconds in _KEPT.items()
            ]
        # From the beginning again once all are gone: some may have been locked, or the clock set.
        self._purged = {}
        for query, cursor in zip(_KEPT, cursors, strict=True):
            count, last = cursor.fetchone() or (0, None)
            if count == limit and last is not None:
                self._purged[query] = last
        return bool(self._purged)

    @contextmanager
    def _durable(self) -> Iterator[None]:
        """Run a transaction that waits for the disk.

        An epoch that a crash took back would be given to a second relay.
        """
        with self._connection.transaction():
            self._connection.execute("SET LOCAL synchronous_commit TO DEFAULT")
            yield
