"""Removes expired events from the outbox by emptying whole partitions.

The outbox has four partitions, and a sequence says which of them new events get into. Deleting
events one by one would leave space that Postgres cannot reuse while anybody holds a snapshot, and
that vacuum must look for in the indexes of all events. TRUNCATE frees it at once.

Which partition an event is in matters to nobody else: all statements look into all partitions, and
order events by their ids. So it does no harm if an event gets into another partition than intended,
for example because its transaction was open for long. A partition is emptied if no event in it is
unsent, as seen while nobody else can write to it. Nothing has to be known about the time before,
whatever relays, restores and failovers there were. Only a replay must leave out old events; see
REPLAY_PART.

An event that expires while its partition cannot be emptied is deleted by itself; see
PostgresOutbox.purge().
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql
from psycopg.errors import InsufficientPrivilege, LockNotAvailable, QueryCanceled
from psycopg.rows import class_row, scalar_row

from core.storage.postgres import BlockingConnection
from core.storage.queries import load_queries

LOG = logging.getLogger(__name__)
SQL = load_queries("write_service")

# As many as migrations/0011_outbox_partitions.sql creates.
PARTITIONS = 4
# Parts of the retention: for how long events go into one partition, and how long ago the last of
# them must have been sent when it is emptied. So a partition is emptied when its first event has
# been kept for four fifths of the retention. This leaves a fifth until events must be deleted one
# by one, and is when the next period begins that needs the partition.
FILL_PART = 1 / 5
KEEP_PART = 3 / 5
# `fanfare replay` sends no event again that was sent before this last part of the retention. So
# every event that was removed is older than every event that is sent again; otherwise an event that
# undoes another might be missing. The rest up to KEEP_PART is for clocks that are set back.
REPLAY_PART = 1 / 2


def partition_name(slot: int) -> str:
    """Return the name of a partition of the outbox, by the value of its rows' column slot."""
    return f"outbox_{slot}"


@dataclass(frozen=True)
class _Slots:
    filling: int
    """The slot that new events get."""
    used: list[int]
    """Those of the partitions that are not empty."""


class OutboxPartitions:
    """The partitions of the outbox, for the active relay."""

    def __init__(self, connection: BlockingConnection, retention_seconds: float) -> None:
        """Use a relay's session.

        Args:
            connection: the session, outside of transactions.
            retention_seconds: how long an event may be kept after it was first sent.
        """
        self._connection = connection
        self._retention_seconds = retention_seconds

    def rotate(self) -> None:
        """Empty the partitions that have expired, and begin the next one if it is time to.

        A partition that somebody else uses is left until the next time.

        Raises:
            psycopg.Error: the session failed.
        """
        slots = self._slots()
        for slot in slots.used:
            if slot != slots.filling:
                self._empty_if_expired(slot)
        following = (slots.filling + 1) % PARTITIONS
        if following not in self._slots().used and self._is_full(slots.filling):
            self._connection.execute(SQL["fill_partition"], {"slot": following})
            LOG.info("outbox partition begun: slot=%d", following)

    def _empty_if_expired(self, slot: int) -> None:
        """Empty a partition if all of its events were sent, the last of them long enough ago."""
        try:
            with self._short_transaction():
                if not self._is_expired(slot):
                    return
            with self._short_transaction():
                # First of all: if the isolation level were REPEATABLE READ, the next statements
                # would see the state of before the lock otherwise.
                self._connection.execute(_about("lock_partition", slot))
                # Asked again: before the lock was there, an event could be added, or be unmarked by
                # `fanfare replay`.
                if self._is_expired(slot):
                    self._connection.execute(_about("empty_partition", slot))
                    LOG.info("outbox partition emptied: slot=%d", slot)
        except (LockNotAvailable, QueryCanceled, InsufficientPrivilege) as error:
            LOG.warning("outbox partition cannot be emptied now: slot=%d error=%s", slot, error)

    @contextmanager
    def _short_transaction(self) -> Iterator[None]:
        """Run a transaction that waits for no lock for long, since no event is sent meanwhile."""
        with self._connection.transaction():
            self._connection.execute(SQL["limit_statement"])
            self._connection.execute(SQL["limit_lock_wait"])
            yield

    def _slots(self) -> _Slots:
        cursor = self._connection.cursor(row_factory=class_row(_Slots))
        slots = cursor.execute(SQL["outbox_slots"], {"last": PARTITIONS - 1}).fetchone()
        assert slots is not None  # noqa: S101 - the statement always has one row
        return slots

    def _is_expired(self, slot: int) -> bool:
        return self._ask("is_partition_expired", slot, self._retention_seconds * KEEP_PART)

    def _is_full(self, slot: int) -> bool:
        return self._ask("is_partition_full", slot, self._retention_seconds * FILL_PART)

    def _ask(self, query: str, slot: int, seconds: float) -> bool:
        cursor = self._connection.cursor(row_factory=scalar_row)
        return cursor.execute(_about(query, slot), {"seconds": seconds}).fetchone() is True


def _about(query: str, slot: int) -> sql.Composed:
    """Return a statement about one partition."""
    return sql.SQL(SQL[query]).format(partition=sql.Identifier(partition_name(slot)))
