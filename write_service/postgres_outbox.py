"""The relay's session with Postgres.

The relay runs in a thread, so this is the only part of the write service with a blocking
connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import args_row, class_row, scalar_row

from core.auth.ended_tokens import ENDED_SECONDS
from core.feed.history import Lsn
from core.settings import DEFAULT_RETENTION_DAYS, DEFAULT_SILENCE_SECONDS
from core.storage.postgres import connect_session
from core.storage.queries import load_queries
from core.storage.retention import DAY_SECONDS
from write_service.low_water_mark import LowWaterMark
from write_service.outbox import CHANNEL
from write_service.outbox_partitions import PARTITIONS, OutboxPartitions, partition_name
from write_service.relay import Epoch, EventBatch, RelayFencedError, UnsentEvent

LOG = logging.getLogger(__name__)
SQL = load_queries("write_service")

# The key of the advisory lock: any number, but the same in every relay of a database.
RELAY_LOCK = 0x46414E46
# A request_id is kept for this long after its tweet was deleted.
REQUEST_RETENTION_SECONDS = DAY_SECONDS
# How long a username that was given up cannot be taken by others.
USERNAME_RETENTION_SECONDS = 30 * DAY_SECONDS


@dataclass(frozen=True)
class _PurgedRows:
    count: int
    last_at: datetime | None
    """The last of the times that they expire by; None if there are no rows."""


class PostgresOutbox:
    """An `Outbox` in Postgres: one session, which may hold the relay lock."""

    def __init__(
        self,
        dsn: str,
        silence_seconds: float = DEFAULT_SILENCE_SECONDS,
        retention_days: float = DEFAULT_RETENTION_DAYS,
    ) -> None:
        """Connect.

        Args:
            dsn: the primary, without a pooler.
            silence_seconds: when to give up the connection if Postgres does not answer.
            retention_days: how long sent events are kept for `fanfare replay`, in case Kafka loses
                them.

        Raises:
            psycopg.OperationalError: Postgres is not reachable.
            SharedSessionError: the DSN leads through a pooler.
        """
        self._connection = connect_session(dsn, "relay", silence_seconds)
        self._silence_seconds = silence_seconds
        self._partitions = OutboxPartitions(self._connection, retention_days * DAY_SECONDS)
        # By table, and the column with the time that its rows expire by. Rows are deleted by their
        # places, which are those of other rows in each partition of the outbox.
        self._retention_seconds = {
            (partition_name(slot), "sent_at"): retention_days * DAY_SECONDS
            for slot in range(PARTITIONS)
        } | {
            ("tweet_requests", "tweet_deleted_at"): REQUEST_RETENTION_SECONDS,
            ("ended_tokens", "ended_at"): ENDED_SECONDS,
            ("freed_usernames", "freed_at"): USERNAME_RETENTION_SECONDS,
        }
        self._low_water_mark = LowWaterMark()
        # The last_at of the last purge of each, if that may have left expired rows.
        self._purged_up_to: dict[tuple[str, str], datetime] = {}
        # Marking events as sent need not wait for the disk. If a crash of Postgres undoes the
        # latest markings, the events are sent again in order, as after a crash of the relay.
        self._connection.execute("SET synchronous_commit = off")
        # Otherwise rows of the outbox cannot be deleted: migrations/0011_outbox_partitions.sql.
        self._connection.execute("SET fanfare.deletes = 'by partition'")
        # Every statement of a relay finds its rows by an index. Postgres would read all of a small
        # table instead, or in unsent_events the index entries of all events that were sent since
        # the last vacuum: only a plain index scan notes which entries are dead, and skips them.
        self._connection.execute(SQL["use_index_scans"])

    def close(self) -> None:
        """Close the connection, which releases the relay lock."""
        self._connection.close()

    def try_lock(self) -> bool:
        """Return whether this session holds the relay lock, after trying to take it."""
        cursor = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (RELAY_LOCK,))
        if cursor.fetchone() == (True,):
            return True
        self._terminate_silent_relay()
        return False

    def _terminate_silent_relay(self) -> None:
        """End the session that holds the relay lock, if it has been silent for too long.

        The relay of that session is gone, but Postgres does not notice this while a hung proxy
        keeps the connection open. An active relay sends queries far more often. A relay that only
        stalled connects and competes for the lock again.
        """
        seconds = 2 * self._silence_seconds
        cursor = self._connection.cursor(row_factory=scalar_row)
        cursor.execute(SQL["terminate_silent_relay"], {"lock": RELAY_LOCK, "seconds": seconds})
        for pid in cursor.fetchall():
            LOG.warning(
                "terminated the session of a silent relay: pid=%d silent_seconds=%g", pid, seconds
            )

    def listen(self) -> None:
        """Have wait_for_events() return early whenever events have been committed."""
        self._connection.execute(f"LISTEN {CHANNEL}")

    def wait_for_events(self, seconds: float) -> None:
        """Wait until events have been committed, but no longer than this many seconds."""
        for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            pass

    def begin_epoch(self) -> Epoch:
        """Begin a new epoch, durably, in a new history if the current one has ended."""
        with self._durable_transaction():
            self._connection.execute(SQL["begin_history"], {"forced": False})
            cursor = self._connection.cursor(row_factory=class_row(Epoch))
            epoch = cursor.execute(SQL["begin_epoch"]).fetchone()
        self._low_water_mark = LowWaterMark()
        if epoch is None:
            raise RuntimeError("relay_state is empty; run `fanfare migrate`")
        return epoch

    def heartbeat(self, epoch: Epoch) -> None:
        """Record that the epoch's history has reached the current LSN; note open transactions.

        If the database has only older epochs, it was put back to an older state while it ran. Then
        this begins a new history.

        Raises:
            RelayFencedError: the epoch is not the newest.
        """
        cursor = self._connection.cursor(row_factory=scalar_row)
        cursor.execute(SQL["heartbeat"], {"epoch": epoch.number, "history": epoch.history})
        is_newest = cursor.fetchone()
        if is_newest is None:
            LOG.error(
                "database was put back to an older state; beginning a new history: epoch=%d",
                epoch.number,
            )
            with self._durable_transaction():
                self._connection.execute(SQL["begin_history"], {"forced": True})
        if not is_newest:
            raise RelayFencedError
        # In this order: a transaction that draws an id takes the lock before.
        last_id = cursor.execute(SQL["last_event_id"]).fetchone()
        inserting = cursor.execute(SQL["transactions_that_insert_events"]).fetchall()
        self._low_water_mark.note_transactions(last_id or 0, set(inserting))

    def mark_and_fetch(self, sent: EventBatch, limit: int, epoch: Epoch) -> EventBatch:
        """Mark a batch as sent, and return the unsent events with the lowest ids, at most limit.

        Both take one round trip, since a relay that keeps up does this for every few events. The
        query does not skip the ids up to the last one that was sent: ids are drawn before their
        transactions commit, so a lower id may become visible later than a higher one. It skips
        those below the low-water mark.

        Raises:
            RelayFencedError: the epoch is not the newest; nothing was marked.
        """
        with self._connection.pipeline():
            marked = None
            if sent.events:
                marked = self._connection.execute(
                    SQL["mark_sent"],
                    {
                        "ids": [event.id for event in sent.events],
                        "lsn": sent.lsn,
                        "epoch": epoch.number,
                        "history": epoch.history,
                    },
                )
            # Fields are filled by position, in the order of the columns. By name would cost half a
            # microsecond more per event, a twelfth of the time that the whole relay takes.
            unsent = self._connection.cursor(binary=True, row_factory=args_row(UnsentEvent))
            first = {"low_water_mark": self._low_water_mark.id}
            unsent.execute(SQL["unsent_events"], first | {"limit": limit})
            # Read after the events, so that it is not before the commit of any of them.
            lsn = self._connection.cursor(row_factory=scalar_row).execute(SQL["current_lsn"])
            is_fenced = marked is not None and marked.fetchone() is None
            if not is_fenced:
                events = unsent.fetchall()
                if limit:
                    self._low_water_mark.note_unsent(events[0].id if events else None)
                return EventBatch(events, Lsn(lsn.fetchone() or 0))
        self.heartbeat(epoch)  # begins a new history if the database was put back
        raise RelayFencedError

    def purge(self, limit: int) -> bool:
        """Delete what is kept for a limited time only and has expired, the oldest first.

        Events disappear with their partition, some time before they have to. Only those whose
        partition could not be emptied are left to be deleted here.

        Returns:
            Whether there may be more of them.
        """
        if not self._purged_up_to:
            self._partitions.rotate()
        cursors = {}
        with self._connection.pipeline():
            for place, seconds in self._retention_seconds.items():
                after = self._purged_up_to.get(place)
                cursors[place] = self._connection.cursor(row_factory=class_row(_PurgedRows))
                cursors[place].execute(
                    _purge(*place), {"seconds": seconds, "limit": limit, "after": after}
                )
        # Once no expired rows are left, the next purge begins at the oldest row again: some rows
        # may have been locked, or the clock may have been set back.
        self._purged_up_to = {}
        for place, cursor in cursors.items():
            purged = cursor.fetchone()
            if purged is not None and purged.count == limit and purged.last_at is not None:
                self._purged_up_to[place] = purged.last_at
        return bool(self._purged_up_to)

    @contextmanager
    def _durable_transaction(self) -> Iterator[None]:
        """Run a transaction whose commit waits for the disk.

        After a crash of Postgres, an epoch that was not on disk would be given out again.
        """
        with self._connection.transaction():
            self._connection.execute("SET LOCAL synchronous_commit TO DEFAULT")
            yield


def _purge(table: str, column: str) -> sql.Composed:
    """Return the statement that purges a table by the time in a column."""
    return sql.SQL(SQL["purge"]).format(
        table=sql.Identifier(table), expires_by=sql.Identifier(column)
    )
