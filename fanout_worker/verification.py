"""Compares a timeline list in Redis with Postgres, while commands and events go on.

A list may lawfully differ from Postgres: a command has been committed, and its event is on its way.
So a difference alone says nothing. The steps of `verify` exclude every difference that has a lawful
reason, in this order:

1. WATCH the list, then read it. Whatever is in it was committed by now.
2. Read from the primary, in one snapshot, what the list must contain, and which events are unsent.
   The snapshot is later than step 1, so it has the commit of everything in the list.
3. Wait until these events are marked as sent. Then every event of the snapshot is in Kafka.
4. Read the ends of the partitions, and wait until the checkpoints of all shards are there. Then
   every event of the snapshot has been applied.
5. Read the list again, with the tweet cache, in a transaction that Redis refuses if the list was
   changed since step 1.

6. If there is a difference, read from the primary once more. A tweet that is not in the timeline
   any more, or by another follow of the same author, does not count.

If Redis executes the transaction, the list has been the same throughout. At step 1 it had nothing
that is later than the snapshot, and at step 5 all of the snapshot has been applied to it. So it
must be what the snapshot says. There is one exception, for which step 6 is: the worker may know
already that somebody has unfollowed an author, before the event of that is applied and drops the
list, and does not push the author's tweets to it (docs/timelines.md, I4).

A list that was changed is not compared. Entries of the tweet cache are not watched, and may be
newer than the snapshot. docs/decisions/0041-metrics-and-a-continuous-verification.md says more.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fanfare.common.v1.common_pb2 import Tweet

from core.feed.checkpoints import Checkpoint
from core.feed.comparison import Row, describe_difference, differing_ids
from core.feed.sharding import PARTITIONS, SHARDS, Partition, Shard
from core.feed.timeline_lists import TimelineList, Window, WindowState, read_window
from core.feed.tweet_cache import DELETED, decode_entry, is_lease

# How long events may take until they are sent, and until they are applied, before the verification
# is given up.
APPLIED_SECONDS = 10.0
PAUSE_SECONDS = 0.05


class NotVerifiableError(Exception):
    """The list could not be compared; the text says why. This is normal under load."""


class StoredRow(NamedTuple):
    """A tweet in Postgres that a timeline must contain."""

    id: int
    user_id: int
    content: str
    version: int
    follow_seq: int
    """Identifies the follow by which the tweet is in a home timeline. A user who unfollows an
    author, and follows them again, has another one."""


@dataclass(frozen=True)
class Difference:
    """How a list differs from Postgres."""

    text: str
    """A description without texts of tweets."""
    ids: frozenset[int]
    """The tweets that are missing, superfluous or old."""


@dataclass(frozen=True)
class Oracle:
    """What one snapshot of the primary says about a list."""

    history: str | None
    """The valid history."""
    rows: Sequence[StoredRow]
    """The tweets that the timeline has down to the floor, newest first."""
    existing: Collection[int]
    """Those of the list's ids that tweets have."""
    unsent: Sequence[int]
    """The ids of the events that are not marked as sent."""


class WatchedList(Protocol):
    """A list that Redis watches. Methods raise RedisError or OSError if Redis does not answer."""

    @property
    def elements(self) -> Sequence[bytes]:
        """The whole list as it was when the watch began."""

    async def checkpoints(self) -> Mapping[tuple[Shard, Partition], Checkpoint]:
        """Return the checkpoints of the history, without those that are absent."""

    async def finish(self, ids: Sequence[int]) -> Mapping[int, bytes]:
        """Return the tweet cache entries of these ids, without those that are absent.

        Raises:
            NotVerifiableError: the list has changed since the watch began.
        """


class Cache(Protocol):
    """Redis."""

    def watch(self, history: str, list_: TimelineList) -> AbstractAsyncContextManager[WatchedList]:
        """Watch a list until the context ends."""

    async def random_list(self, history: str) -> TimelineList | None:
        """Return a randomly chosen list; None if none was found."""


class Store(Protocol):
    """The Postgres primary."""

    async def history(self) -> str | None:
        """Return the valid history; None if none has begun since Postgres started."""

    async def oracle(self, list_: TimelineList, floor: int, ids: Sequence[int]) -> Oracle:
        """Return what the list must contain down to the floor, in one snapshot.

        Args:
            list_: which list.
            floor: the id down to which the list is complete.
            ids: the ids in the list.

        Raises:
            NotVerifiableError: too much would have to be read.
        """

    async def are_sent(self, events: Sequence[int]) -> bool:
        """Return whether none of these events is unsent."""


class Topic(Protocol):
    """The topic in Kafka."""

    async def ends(self) -> tuple[str, Mapping[Partition, int]]:
        """Return the topic's id, and the offset that the next record of each partition will get.

        Raises:
            NotVerifiableError: the topic was recreated during the call.
        """


class Verification:
    """Verifies one list after another."""

    def __init__(
        self,
        cache: Cache,
        store: Store,
        topic: Topic,
        *,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use these servers.

        Args:
            cache: Redis.
            store: the primary.
            topic: the topic in Kafka.
            sleep: waits for a number of seconds, as asyncio.sleep() does.
            clock: returns seconds, as time.monotonic() does.
        """
        self._cache = cache
        self._store = store
        self._topic = topic
        self._sleep = sleep
        self._clock = clock

    async def verify(self, history: str, list_: TimelineList) -> Difference | None:
        """Return how a list differs from Postgres; None if it does not.

        Args:
            history: the valid history of the database.
            list_: which list.

        Raises:
            NotVerifiableError: the list cannot be compared now.
        """
        async with self._cache.watch(history, list_) as watched:
            window = read_window(watched.elements, is_whole=True)
            if window.state is not WindowState.READABLE:
                raise NotVerifiableError(f"the list is {window.state.name.lower()}")
            oracle = await self._store.oracle(list_, window.floor, window.ids)
            if oracle.history != history:
                raise NotVerifiableError("the database began a new history")
            await self._wait_applied(watched, oracle.unsent)
            entries = await watched.finish(window.ids)
        if compare(window, oracle, entries) is None:
            return None
        later = await self._store.oracle(list_, window.floor, window.ids)
        stayed = {(row.id, row.follow_seq) for row in later.rows}
        gone = {row.id for row in oracle.rows if (row.id, row.follow_seq) not in stayed}
        return compare(window, oracle, entries, gone)

    async def _wait_applied(self, watched: WatchedList, unsent: Sequence[int]) -> None:
        """Wait until every event of the snapshot has been applied to every shard."""
        deadline = self._clock() + APPLIED_SECONDS
        while not await self._store.are_sent(unsent):
            await self._pause(deadline, "events are not sent yet")
        topic_id, ends = await self._topic.ends()
        while not _are_at(await watched.checkpoints(), topic_id, ends):
            await self._pause(deadline, "events are not applied yet")

    async def _pause(self, deadline: float, reason: str) -> None:
        if self._clock() > deadline:
            raise NotVerifiableError(reason)
        await self._sleep(PAUSE_SECONDS)


def _are_at(
    checkpoints: Mapping[tuple[Shard, Partition], Checkpoint],
    topic_id: str,
    ends: Mapping[Partition, int],
) -> bool:
    """Return whether all shards have applied all partitions of this topic up to these ends."""
    return len(checkpoints) == SHARDS * PARTITIONS and all(
        checkpoint.topic_id == topic_id and checkpoint.offset >= ends[partition]
        for (_, partition), checkpoint in checkpoints.items()
    )


def compare(
    window: Window, oracle: Oracle, entries: Mapping[int, bytes], gone: Collection[int] = ()
) -> Difference | None:
    """Return how what readers are shown of a list differs from the snapshot; None if it does not.

    Args:
        window: the list, which has all events of the snapshot.
        oracle: the snapshot.
        entries: the tweet cache entries of the list's ids, later than the snapshot.
        gone: tweets of the snapshot that are not in the timeline any more, and do not count.
    """
    listed = set(window.ids)
    # Tweets of pull authors need not be in the list, because reads merge the authors' own lists.
    expected = [
        row
        for row in oracle.rows
        if row.id not in gone and (row.id in listed or row.user_id not in window.pulled)
    ]
    rows = {row.id: row for row in expected}
    shown = [
        tweet
        for id_ in window.ids
        if id_ not in gone and (tweet := _shown(id_, rows.get(id_), oracle, entries)) is not None
    ]
    wanted = [Row(*row[:3]) for row in expected]
    text = describe_difference(shown, wanted)
    return None if text is None else Difference(text, differing_ids(shown, wanted))


def _shown(
    id_: int, row: StoredRow | None, oracle: Oracle, entries: Mapping[int, bytes]
) -> Row | None:
    """Return what readers are shown of a listed tweet; None if it counts as deleted.

    Args:
        id_: the tweet.
        row: its row, if it belongs to the timeline.
        oracle: the snapshot.
        entries: the tweet cache.
    """
    entry = entries.get(id_)
    if entry == DELETED:
        return None
    if entry is None or is_lease(entry):
        # It is read from Postgres.
        if id_ not in oracle.existing:
            return None
        return Row(*row[:3]) if row is not None else Row(id_, 0, "")
    if row is not None and int(entry.partition(b":")[0]) > row.version:
        return Row(*row[:3])  # it was changed after the snapshot
    tweet = Tweet.FromString(decode_entry(entry) or b"")
    return Row(tweet.id, tweet.user_id, tweet.content)
