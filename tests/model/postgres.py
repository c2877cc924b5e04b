"""Postgres: a primary whose every commit is a snapshot, and a replica that shows an older one.

A WAL position is the number of a snapshot. The oracle is a query of the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from model.events import Event, Tweet

FROM_THE_TOP = 1 << 40


@dataclass(frozen=True)
class Snapshot:
    """What a statement sees."""

    users: frozenset[int] = frozenset()
    tweets: Mapping[int, Tweet] = field(default_factory=dict)
    follows: frozenset[tuple[int, int]] = frozenset()
    """(follower, followed)."""
    pulled: frozenset[int] = frozenset()

    def timeline(
        self, viewer: int, before: int = FROM_THE_TOP, limit: int | None = None
    ) -> list[Tweet]:
        """Return the oracle's page: tweets of those whom the viewer follows, newest first."""
        page = [
            tweet
            for tweet in self.tweets.values()
            if tweet.id < before and (viewer, tweet.author) in self.follows
        ]
        return sorted(page, reverse=True)[:limit]

    def tweets_of(self, author: int, limit: int | None = None) -> list[int]:
        """Return the ids of an author's tweets, newest first."""
        ids = (tweet.id for tweet in self.tweets.values() if tweet.author == author)
        return sorted(ids, reverse=True)[:limit]

    def followers(self, user: int) -> set[int]:
        """Return who follows the user."""
        return {follower for follower, followed in self.follows if followed == user}

    def followed(self, user: int) -> set[int]:
        """Return whom the user follows."""
        return {followed for follower, followed in self.follows if follower == user}


Change = Callable[[Snapshot], Snapshot]


@dataclass
class Row:
    """A row of the outbox."""

    id: int
    event: Event
    sent_at: int | None = None
    """When it was marked as sent; None: not yet."""
    place: tuple[int, int] | None = None
    """For the checks alone: (topic, offset) of its last copy in Kafka."""


class Postgres:
    """The primary and its replica, with the locks and the outbox of the primary."""

    def __init__(self) -> None:
        self.snapshots = [Snapshot()]
        self.replayed = 0
        """How far the replica is."""
        self.outbox: list[Row] = []
        self.epoch = 0
        self.relay_lock: object | None = None
        """The session that holds the relay's advisory lock."""
        self.marked = 0
        """How often rows were marked: the clock of sent_at."""
        self._locks: dict[object, list[object]] = {}
        self._exclusive: set[object] = set()
        self._last_outbox_id = 0
        self._last_tweet_id = 0

    @property
    def position(self) -> int:
        """The primary's WAL position."""
        return len(self.snapshots) - 1

    @property
    def primary(self) -> Snapshot:
        """What a statement on the primary sees."""
        return self.snapshots[-1]

    @property
    def replica(self) -> Snapshot:
        """What a statement on the replica sees."""
        return self.snapshots[self.replayed]

    def draw_outbox_id(self) -> int:
        """Return the next number of the outbox's sequence."""
        self._last_outbox_id += 1
        return self._last_outbox_id

    def draw_tweet_id(self) -> int:
        """Return the next tweet id."""
        self._last_tweet_id += 1
        return self._last_tweet_id

    def lock(self, session: object, shared: set[object], exclusive: set[object]) -> bool:
        """Lock rows; return False, with none locked, when another session holds one."""
        for key in shared | exclusive:
            others = [holder for holder in self._locks.get(key, ()) if holder is not session]
            if others and (key in exclusive or key in self._exclusive):
                return False
        for key in shared | exclusive:
            self._locks.setdefault(key, []).append(session)
        self._exclusive |= exclusive
        return True

    def unlock(self, session: object) -> None:
        """Give up all locks of a session."""
        for key, holders in list(self._locks.items()):
            if session in holders:
                self._locks[key] = [holder for holder in holders if holder is not session]
                if not self._locks[key]:
                    del self._locks[key]
                    self._exclusive.discard(key)

    def commit(self, change: Change, rows: Sequence[Row] = ()) -> None:
        """Commit a transaction: its change and its rows in the outbox."""
        self.snapshots.append(change(self.primary))
        self.outbox += rows

    def unsent(self) -> list[Row]:
        """Return the rows not marked as sent, in the order of their ids."""
        return sorted((row for row in self.outbox if row.sent_at is None), key=lambda row: row.id)
