"""Postgres: a primary whose every commit is a snapshot, and a replica that shows an older one.

An LSN is the number of a snapshot. The oracle is a query of the newest one. A restored copy, or a
replica that took over, is another `Postgres` that begins with the same snapshots: the histories
fork, and LSNs, sequences and epochs repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from model.events import Event, Tweet
from model.rules import Rules

from core.feed.history import Lsn

FROM_THE_TOP = 1 << 40
OUTBOX_PARTITIONS = 3


class SessionLostError(Exception):
    """Postgres has ended the session."""


@dataclass(frozen=True)
class Row:
    """A row of the outbox."""

    id: int
    event: Event
    sent_at: int | None = None
    """The LSN at which it was marked as sent; None if it is unsent."""

    @property
    def partition(self) -> int:
        """The partition of the outbox, which matters to nobody but who empties it."""
        return self.id % OUTBOX_PARTITIONS


@dataclass(frozen=True)
class RelayState:
    """The row of relay_state, and the table of the histories that have ended."""

    history: str = ""
    server: int = 0
    """The server on which the history began. It is valid only there."""
    epoch: int = 0
    lsn: int = 0
    """An LSN of this history, from the relay's heartbeat."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """For each history that has ended: the last LSN up to which this database is known to have all
    of its commits."""


@dataclass(frozen=True)
class Snapshot:
    """What a statement sees."""

    users: frozenset[int] = frozenset()
    erasing: frozenset[int] = frozenset()
    """Deleted users whose tweets and edges are not all erased yet."""
    tweets: Mapping[int, Tweet] = field(default_factory=dict)
    follows: frozenset[tuple[int, int]] = frozenset()
    """(follower, followed)."""
    pulled: frozenset[int] = frozenset()
    outbox: Mapping[int, Row] = field(default_factory=dict)
    """By id."""
    expired: Mapping[int, Row] = field(default_factory=dict)
    """The rows of the outbox that were removed with their partition. Production knows only before
    which time all of them were sent."""
    outbox_ids: int = 0
    """The last id drawn from the outbox's sequence."""
    relay: RelayState = RelayState()
    doubted: bool = False
    """Only for checks: older rows were loaded, and the operator has not recovered since."""

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


@dataclass(frozen=True)
class Moment:
    """An LSN in a history, as a consistency token holds it."""

    history: str
    lsn: Lsn


class Clock:
    """A clock that goes on after a restore."""

    def __init__(self) -> None:
        self._ticks = 0
        self._microseconds = 0

    def tick(self) -> int:
        """Return a number above all earlier ones, for a tweet's id or text, or a server."""
        self._ticks += 1
        return self._ticks

    def microseconds(self) -> int:
        """Return the time, which passes faster than event ids are drawn."""
        self._microseconds += 10_000
        return self._microseconds


class Postgres:
    """A primary with its locks; stopping it ends all sessions."""

    def __init__(
        self, rules: Rules, clock: Clock, past: Sequence[Snapshot] = (), server: int | None = None
    ) -> None:
        """Start with the commits of a past; server is the number of a former server to pass for."""
        self.snapshots = list(past) or [Snapshot()]
        self.server = clock.tick() if server is None else server
        self.running = True
        self.relay_lock: object | None = None
        """The session that holds the relay's advisory lock."""
        self._rules = rules
        self._clock = clock
        self._locks: dict[object, list[object]] = {}
        self._exclusive: set[object] = set()
        self._last_outbox_id = self.now.outbox_ids
        self.inserting: set[object] = set()
        """The transactions that draw ids of the outbox, or have done so."""

    def check(self) -> None:
        """Raise SessionLostError if this server has stopped."""
        if not self.running:
            raise SessionLostError

    def stop(self) -> None:
        """Stop: all sessions end."""
        self.running = False
        self.relay_lock = None

    @property
    def lsn(self) -> Lsn:
        """The LSN of the newest commit."""
        return Lsn(len(self.snapshots) - 1)

    @property
    def now(self) -> Snapshot:
        """What a statement sees."""
        return self.snapshots[-1]

    # Commands ------------------------------------------------------------------------------

    @property
    def last_outbox_id(self) -> int:
        """The last number of the outbox's sequence."""
        return self._last_outbox_id

    def draw_outbox_id(self) -> int:
        """Return the next number of the outbox's sequence."""
        self._last_outbox_id += 1
        return self._last_outbox_id

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
        outbox = {**self.now.outbox, **{row.id: row for row in rows}}
        changed = replace(change(self.now), outbox=outbox, outbox_ids=self._last_outbox_id)
        self.snapshots.append(changed)

    def put_back(self, past: Snapshot) -> bool:
        """Load an older state into the running server; return False if rows are locked."""
        if self._locks:
            return False
        self.snapshots.append(replace(past, outbox_ids=self._last_outbox_id, doubted=True))
        return True

    # The outbox and the relay --------------------------------------------------------------

    def unsent(self) -> list[Row]:
        """Return the rows not marked as sent, in the order of their ids."""
        unsent = (row for row in self.now.outbox.values() if row.sent_at is None)
        return sorted(unsent, key=lambda row: row.id)

    def mark(self, ids: Sequence[int], sent_at: int | None) -> None:
        """Mark rows as sent, or as unsent."""
        outbox = self.now.outbox
        rows = {i: replace(outbox[i], sent_at=sent_at) for i in ids if i in outbox}
        self.snapshots.append(replace(self.now, outbox={**self.now.outbox, **rows}))

    def empty_partition(self, partition: int) -> None:
        """Remove all rows of a partition of the outbox, whether they are sent or not."""
        rows = self.now.outbox
        left = {i: row for i, row in rows.items() if row.partition != partition}
        expired = {**self.now.expired, **{i: rows[i] for i in rows.keys() - left.keys()}}
        self.snapshots.append(replace(self.now, outbox=left, expired=expired))

    def next_epoch(self) -> tuple[str, int]:
        """Return the valid history and a new epoch of it; begin a history if none is valid."""
        history = self.begin_history()
        self.take_epoch()
        return history, self.now.relay.epoch

    def take_epoch(self) -> None:
        """Bump the epoch, so that a relay with an older one may not mark."""
        self._set(replace(self.now.relay, epoch=self.now.relay.epoch + 1))

    def heartbeat(self) -> None:
        """Note the current LSN as one of this history."""
        self._set(replace(self.now.relay, lsn=self.lsn))

    def _set(self, state: RelayState) -> None:
        self.snapshots.append(replace(self.now, relay=state, outbox_ids=self._last_outbox_id))

    # Histories -----------------------------------------------------------------------------

    def valid_history(self) -> str | None:
        """Return the history; None if it began on another server."""
        relay = self.now.relay
        return relay.history if relay.server == self.server else None

    def begin_history(self, *, forced: bool = False) -> str:
        """Return the valid history. Begin a new one if none is valid, or if forced."""
        valid = self.valid_history()
        if valid is not None and not forced:
            return valid
        before = self.now.relay
        ended = {**before.ended, before.history: before.lsn} if before.history else before.ended
        if forced and self._rules.forced_end_refuses_tokens:
            ended = dict.fromkeys(ended, -1)
        if self._rules.event_ids_never_repeat:
            self._last_outbox_id = max(self._last_outbox_id, self._clock.microseconds())
        history = f"h{self._clock.tick()}"
        self._set(RelayState(history, self.server, before.epoch, self.lsn, ended))
        if forced:
            self.snapshots[-1] = replace(self.now, doubted=False)
        return history

    def moment(self) -> Moment:
        """Return a moment not before any commit so far."""
        lsn = self.lsn
        return Moment(self.begin_history(), lsn)


class Replica:
    """A replica of one primary, which shows an earlier state of it."""

    def __init__(self, source: Postgres) -> None:
        """Clone a primary."""
        self.source = source
        self.replayed = source.lsn
        self.running = True

    @property
    def now(self) -> Snapshot:
        """What a statement sees."""
        return self.source.snapshots[self.replayed]

    def history(self, rules: Rules) -> str | None:
        """Return the replica's history; None if the server it follows has not begun one."""
        relay = self.now.relay
        if rules.replica_of_the_server and relay.server != self.source.server:
            return None
        return relay.history

    def check(self) -> None:
        """Raise SessionLostError if it has stopped."""
        if not self.running:
            raise SessionLostError

    def replay(self, commits: int) -> None:
        """Replay a number of commits, while the primary runs."""
        if self.source.running:
            self.replayed = min(self.source.lsn, Lsn(self.replayed + commits))
