"""Redis: its keys, and the scripts and commands that change them.

The keys of a history are a `Space` of their own: all begin with the history's id. Each method is
atomic, as a command or script of Redis is. The scripts are those of core/feed/timeline_lists.py and
core/feed/tweet_cache.py, in Python; lists have the same elements as in production.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from model.events import PARTITIONS, SHARDS, Tweet

from core.feed.checkpoints import Checkpoint
from core.feed.timeline_lists import COMPLETE, SEPARATOR

LENGTH = 4
"""How many ids a list keeps."""
TRIM_SLACK = 2


class RedisAwayError(Exception):
    """Redis does not answer."""


@dataclass(frozen=True)
class ListKey:
    """The key of a list of tweet ids."""

    kind: str
    user: int

    @property
    def shard(self) -> int:
        """The shard that the list is in."""
        return self.user % SHARDS

    def __str__(self) -> str:
        return f"{self.kind}:{self.user}"


def home(user: int) -> ListKey:
    """Return the key of a user's home timeline."""
    return ListKey("timeline", user)


def author_list(user: int) -> ListKey:
    """Return the key of a user's own tweets."""
    return ListKey("author", user)


@dataclass(frozen=True)
class Deleted:
    """The cache entry of a deleted tweet."""


@dataclass(frozen=True)
class Lease:
    """The cache entry of a tweet that a reader is filling."""

    token: str


CachedTweet = Tweet | Deleted | Lease
CacheKey = tuple[str, int]
"""(history, tweet id)"""
TrackedKey = tuple[str, int | ListKey]
"""(history, tweet id or list)"""
CheckpointKey = tuple[int, int]
"""(shard, partition)"""
List = list[bytes]


@dataclass(frozen=True)
class Answer:
    """The reply to a tracked read."""

    history: str
    entries: Mapping[int, CachedTweet | None]


@dataclass(frozen=True)
class Head:
    """The reply to a tracked read of the first elements of a list."""

    history: str
    key: ListKey
    elements: List
    length: int
    """How many elements were asked for."""


@dataclass(frozen=True)
class Reply:
    """Another reply to the production code."""

    parsed: Callable[[], None]
    """Called when the process parses it."""


@dataclass(frozen=True, eq=False)
class Pong:
    """The reply to a PING."""


@dataclass(frozen=True)
class Changed:
    """The message that Redis pushes when a tracked entry or list changes."""

    key: TrackedKey | None
    """None if any of them may have changed."""


Message = Answer | Head | Reply | Pong | Changed


@dataclass
class SpaceCopy:
    """What an older copy of Redis holds of a history."""

    checkpoints: dict[CheckpointKey, Checkpoint]
    lists: dict[ListKey, List]
    tweet_cache: dict[int, CachedTweet]


Copy = Mapping[str, SpaceCopy]


class Redis:
    """A Redis server: the keys of all histories, and the connection of the read service."""

    def __init__(self) -> None:
        self.up = True
        self.spaces: dict[str, Space] = {}
        self.incarnation = 0
        """Goes up when a copy is restored. A connection to an earlier incarnation is broken."""
        self.connection = 0
        """How often the read service's connection has broken."""
        self.tracked: set[TrackedKey] = set()
        """The entries and lists whose next change is reported on that connection."""
        self.sent: list[Message] = []
        """What was sent on that connection and is not parsed yet, in order."""

    def check(self, incarnation: int | None = None) -> None:
        """Raise RedisAwayError if Redis is away, or if this is not its current incarnation."""
        if not self.up or (incarnation is not None and incarnation != self.incarnation):
            raise RedisAwayError

    def space(self, history: str) -> Space:
        """Return the keys of a history."""
        return self.spaces.setdefault(history, Space(self, history))

    def flush(self) -> None:
        """Remove all keys, as FLUSHALL does."""
        for space in self.spaces.values():
            space.clear()
        self.tracked.clear()
        self.sent.append(Changed(None))

    def copy(self) -> Copy:
        """Return what a copy taken now holds."""
        return {name: space.copy() for name, space in self.spaces.items()}

    def restore(self, copy: Copy) -> None:
        """Continue from a copy; all connections break."""
        self.incarnation += 1
        self.break_connection()
        for space in self.spaces.values():
            space.clear()
        for name, kept in copy.items():
            self.space(name).restore(kept)

    def break_connection(self) -> None:
        """Lose the read service's connection, with what was on its way and what it tracked."""
        self.connection += 1
        self.tracked.clear()
        self.sent.clear()

    def report_change(self, key: TrackedKey) -> None:
        """Push a message if the entry or list is tracked; it is not tracked any more then."""
        if key in self.tracked:
            self.tracked.remove(key)
            self.sent.append(Changed(key))


class Space:
    """The keys of a history."""

    def __init__(self, redis: Redis, history: str) -> None:
        self.checkpoints: dict[CheckpointKey, Checkpoint] = {}
        self.lists: dict[ListKey, List] = {}
        self.tweet_cache: dict[int, CachedTweet] = {}
        self.writes: dict[CheckpointKey, int] = {}
        """How often each checkpoint was written, as WATCH sees it."""
        self.changes: dict[ListKey, int] = {}
        """How often each list was changed, as WATCH sees it."""
        self._redis = redis
        self._history = history

    def clear(self) -> None:
        """Lose all keys."""
        for key in list(self.checkpoints):
            self.remove_checkpoint(key)
        for list_ in self.lists:
            self.changes[list_] = self.changes.get(list_, 0) + 1
        self.lists.clear()
        self.tweet_cache.clear()

    def copy(self) -> SpaceCopy:
        """Return what a copy taken now holds."""
        lists = {key: list(elements) for key, elements in self.lists.items()}
        return SpaceCopy(dict(self.checkpoints), lists, dict(self.tweet_cache))

    def restore(self, copy: SpaceCopy) -> None:
        """Continue from a copy."""
        self.checkpoints = dict(copy.checkpoints)
        self.lists = {key: list(elements) for key, elements in copy.lists.items()}
        self.tweet_cache = dict(copy.tweet_cache)

    # Checkpoints ---------------------------------------------------------------------------

    def set_checkpoint(self, key: CheckpointKey, checkpoint: Checkpoint) -> None:
        """SET a checkpoint."""
        self.checkpoints[key] = checkpoint
        self.writes[key] = self.writes.get(key, 0) + 1

    def shard_checkpoints(self, shard: int) -> list[Checkpoint | None]:
        """MGET all checkpoints of a shard."""
        return [self.checkpoints.get((shard, partition)) for partition in range(PARTITIONS)]

    def remove_checkpoint(self, key: CheckpointKey) -> None:
        """Remove a checkpoint, as UNLINK or the loss of its key does."""
        self.checkpoints.pop(key, None)
        self.writes[key] = self.writes.get(key, 0) + 1

    # Lists ---------------------------------------------------------------------------------

    def push(self, key: ListKey, ids: Iterable[int]) -> int:
        """LPUSHX; return the list's length, 0 if there is none."""
        if key not in self.lists:
            return 0
        elements = self.lists[key]
        for id_ in ids:
            elements.insert(0, b"%d" % id_)
        self.change_list(key)
        return len(elements)

    def trim(self, key: ListKey) -> None:
        """LTRIM a list to its maximum length."""
        if key in self.lists:
            del self.lists[key][LENGTH + TRIM_SLACK :]
            self.change_list(key)

    def drop_list(self, key: ListKey) -> None:
        """UNLINK a list; its expiry is the same."""
        if self.lists.pop(key, None) is not None:
            self.change_list(key)

    def change_list(self, key: ListKey) -> None:
        """Report that a list has changed, as every command does that changes it or its TTL."""
        self.changes[key] = self.changes.get(key, 0) + 1
        self._redis.report_change((self._history, key))

    def read_head(self, key: ListKey, length: int) -> Head:
        """CLIENT CACHING YES, LRANGE: send the first elements, and later report a change."""
        self._redis.tracked.add((self._history, key))
        head = Head(self._history, key, self.lists.get(key, [])[:length], length)
        self._redis.sent.append(head)
        return head

    def begin_build(self, key: ListKey, token: str) -> bool:
        """Create a placeholder if there is no list; return whether there was none."""
        if key in self.lists:
            return False
        self.lists[key] = [SEPARATOR, _building(token)]
        self.change_list(key)
        return True

    def finish_build(
        self, key: ListKey, token: str, ids: Iterable[int], separator: bytes, *, complete: bool
    ) -> bool:
        """Replace this builder's placeholder with a base; return False if it is gone."""
        if not self.is_building(key, token):
            return False
        self.replace(key, ids, separator, complete=complete)
        return True

    def replace(
        self, key: ListKey, ids: Iterable[int], separator: bytes, *, complete: bool
    ) -> None:
        """Replace a list with a base of these ids and those in its log."""
        log, _, _ = _parts(self.lists.get(key, []))
        self.lists[key] = [separator, *_base({*ids, *log}, complete=complete)]
        self.change_list(key)

    def abandon_build(self, key: ListKey, token: str) -> None:
        """Remove the placeholder of a build that this builder does not finish."""
        if self.is_building(key, token):
            self.drop_list(key)

    def is_building(self, key: ListKey, token: str) -> bool:
        """Return whether a list is being built by the holder of the token."""
        return self.lists.get(key, [b""])[-1] == _building(token)

    def compact(self, key: ListKey, *, keep_below_floor: bool) -> None:
        """Sort a list's log into its base; delete a list that has no base any more."""
        elements = self.lists.get(key, [])
        if not elements or elements[-1].startswith(b"B"):
            return
        log, separator, base = _parts(elements)
        if separator is None or not base:
            self.drop_list(key)
            return
        complete = base[-1] == COMPLETE
        ids = {*log, *map(int, base)} - {0}
        if not complete and not keep_below_floor:
            ids = {id_ for id_ in ids if id_ >= int(base[-1])}
        self.lists[key] = [separator, *_base(ids, complete=complete)]
        self.change_list(key)

    # Tweet cache ---------------------------------------------------------------------------

    def read_tracked(self, ids: Iterable[int]) -> Answer:
        """CLIENT CACHING YES, MGET: send entries, and later report the first change of each."""
        entries = {tweet_id: self.tweet_cache.get(tweet_id) for tweet_id in ids}
        answer = Answer(self._history, entries)
        self._redis.tracked |= {(self._history, tweet_id) for tweet_id in entries}
        self._redis.sent.append(answer)
        return answer

    def put_newer_tweet(self, tweet_id: int, entry: Tweet | Deleted) -> None:
        """Set an entry if the present one is older; a deletion is newer than all versions."""
        old = self.tweet_cache.get(tweet_id)
        if isinstance(old, Deleted):
            return
        if isinstance(old, Tweet) and isinstance(entry, Tweet) and old.version >= entry.version:
            return
        self.put_tweet(tweet_id, entry)

    def fill_tweet(self, tweet_id: int, token: str, entry: Tweet | Deleted | None) -> None:
        """Replace this reader's fill lease with an entry; remove the lease if the entry is None."""
        if self.tweet_cache.get(tweet_id) == Lease(token):
            self.put_tweet(tweet_id, entry)

    def put_tweet(self, tweet_id: int, entry: CachedTweet | None) -> None:
        """Set an entry; None removes it. Every change of a single entry is made here."""
        self._redis.report_change((self._history, tweet_id))
        if entry is None:
            self.tweet_cache.pop(tweet_id, None)
        else:
            self.tweet_cache[tweet_id] = entry


def _building(token: str) -> bytes:
    return b"B" + token.encode()


def _parts(elements: List) -> tuple[list[int], bytes | None, List]:
    """Return the log, the separator and the base with its tail."""
    for at, element in enumerate(elements):
        if element.startswith(SEPARATOR):
            return [int(id_) for id_ in elements[:at]], element, elements[at + 1 :]
    return [int(id_) for id_ in elements], None, []


def _base(ids: set[int], *, complete: bool) -> List:
    """Return a base of the newest ids, with the tail if no id is left out of a complete list."""
    base = [b"%d" % id_ for id_ in sorted(ids, reverse=True)[:LENGTH]]
    return [*base, COMPLETE] if complete and len(ids) <= LENGTH else base
