"""A fake of what the relay uses of Postgres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.feed.history import Lsn
from write_service.relay import Epoch, EventBatch, RelayFencedError, UnsentEvent

TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class OutboxDatabase:
    """The rows that all relays of a database share."""

    unsent: dict[int, UnsentEvent] = field(default_factory=dict)
    sent: list[int] = field(default_factory=list)
    """The ids of events that are marked as sent."""
    expired: int = 0
    """How many sent events could be purged."""
    epoch: int = 0
    history: int = 1
    lsn: int = 1
    lock_holder: FakeOutbox | None = None

    def enqueue(self, count: int) -> list[int]:
        """Commit new events; return their ids."""
        first = len(self.sent) + len(self.unsent) + 1
        ids = list(range(first, first + count))
        for id_ in ids:
            self.unsent[id_] = UnsentEvent(id_, 1, "tweet.created", b"", TIME)
        self.lsn += count
        return ids


class FakeOutbox:
    """An `Outbox`: one session of a relay."""

    def __init__(self, database: OutboxDatabase) -> None:
        """Open a session."""
        self.database = database
        self.calls: list[str] = []
        """The names of the methods called, apart from mark_and_fetch."""
        self.purge_limits: list[int] = []
        self.waits: list[float] = []
        """How many seconds each call of wait_for_events may take."""
        self.on_idle: Callable[[], None] = lambda: None
        """Called when the relay waits for events, and has none to mark."""
        self._has_fetched = False
        """Whether the last mark_and_fetch returned any events."""

    def close(self) -> None:
        """End the session, which releases the relay lock."""
        self.calls.append("close")
        if self.database.lock_holder is self:
            self.database.lock_holder = None

    def try_lock(self) -> bool:
        """Return whether this session holds the relay lock, after trying to take it."""
        self.calls.append("try_lock")
        if self.database.lock_holder is None:
            self.database.lock_holder = self
        return self.database.lock_holder is self

    def listen(self) -> None:
        """Remember that the relay listens."""
        self.calls.append("listen")

    def wait_for_events(self, seconds: float) -> None:
        """Let the test act, and return at once."""
        assert seconds > 0
        self.calls.append("wait_for_events")
        self.waits.append(seconds)
        if not self._has_fetched:
            self.on_idle()

    def begin_epoch(self) -> Epoch:
        """Begin the next epoch."""
        self.calls.append("begin_epoch")
        self.database.epoch += 1
        return self._epoch(self.database.epoch)

    def heartbeat(self, epoch: Epoch) -> None:
        """Raise RelayFencedError unless the epoch is the newest.

        If the database has only older epochs, begin a new history first.
        """
        self.calls.append("heartbeat")
        if epoch.number > self.database.epoch:
            self.database.history += 1
        if epoch != self._epoch(self.database.epoch):
            raise RelayFencedError

    def mark_and_fetch(self, sent: EventBatch, limit: int, epoch: Epoch) -> EventBatch:
        """Mark a batch as sent, and return the unsent events with the lowest ids."""
        if sent.events:
            self._check_newest(epoch)
            for event in sent.events:
                del self.database.unsent[event.id]
                self.database.sent.append(event.id)
        ids = sorted(self.database.unsent)[:limit]
        self._has_fetched = bool(ids)
        return EventBatch([self.database.unsent[id_] for id_ in ids], Lsn(self.database.lsn))

    def _check_newest(self, epoch: Epoch) -> None:
        if epoch != self._epoch(self.database.epoch):
            self.heartbeat(epoch)
            raise RelayFencedError

    def purge(self, limit: int) -> bool:
        """Delete expired events; return whether there may be more."""
        self.purge_limits.append(limit)
        purged = min(limit, self.database.expired)
        self.database.expired -= purged
        return purged == limit

    def _epoch(self, number: int) -> Epoch:
        return Epoch(number, f"{self.database.history:010x}")
