"""The timeline lists in Redis, changed by the scripts of core/feed/timeline_lists.py."""

from __future__ import annotations

import time
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Container,
    Iterable,
    Mapping,
    Sequence,
)
from typing import cast

from core.feed import timeline_lists
from core.feed.history import Moment
from core.feed.sharding import Shard
from core.feed.timeline_lists import TimelineList
from core.runtime.metrics import METRICS, Metric
from core.storage.redis_pipeline import TRACK_NEXT_COMMAND, Command, Replies
from read_service.cache import CacheConnection
from read_service.protocols import Leased, ListBase

# A process extends a list's TTL at most once in this fraction of the TTL, while it remembers.
TOUCH_FRACTION = 1 / 100
MAX_REMEMBERED_TOUCHES = 100_000


class RedisTimelineCache:
    """The `TimelineCache` in Redis."""

    def __init__(
        self,
        connection: CacheConnection,
        ttl_seconds: int,
        build_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the connection.

        Args:
            connection: to Redis.
            ttl_seconds: how long a list is kept after its last read.
            build_seconds: how long a build may take before another one may begin.
            clock: seconds; tests pass their own.
        """
        self._connection = connection
        self._ttl_seconds = ttl_seconds
        self._build_seconds = build_seconds
        self._clock = clock
        self._touched: set[str] = set()
        self._touched_until = 0.0
        self._touch_period = 0

    async def heads(
        self,
        wanted: Collection[tuple[TimelineList, int | None]],
        *,
        tracked: Container[TimelineList] = (),
        parsed: Callable[[Sequence[Sequence[bytes]]], None] | None = None,
    ) -> Sequence[Sequence[bytes]]:
        """Return the first elements of lists: at most the number given with each, None for all."""
        key = self._connection.keys.for_list
        commands: list[Command] = []
        places = []
        for list_, length in wanted:
            if list_ in tracked:
                commands.append(TRACK_NEXT_COMMAND)
            places.append(len(commands))
            commands.append(_read_head(key(list_), length))

        def heads_in(answers: Replies) -> Replies:
            return [answers[place] for place in places]

        answers = await self._connection.ask(
            commands, None if parsed is None else lambda answers: parsed(heads_in(answers))
        )
        return heads_in(answers)

    def barrier(self) -> Awaitable[None]:
        """Wait until all changes of tracked lists and tweets before this call were reported."""
        return self._connection.barrier()

    @property
    def touch_period(self) -> int:
        """A number that changes when lists are due to be touched again."""
        self._begin_period_if_due()
        return self._touch_period

    async def touch(self, lists: Iterable[TimelineList]) -> None:
        """Extend the TTL of lists, unless that was done in this period."""
        self._begin_period_if_due()
        due = [
            key for key in map(self._connection.keys.for_list, lists) if key not in self._touched
        ]
        if not due:
            return
        if len(self._touched) > MAX_REMEMBERED_TOUCHES:
            self._touched.clear()
        self._touched.update(due)
        await self._connection.ask([("EXPIRE", key, self._ttl_seconds) for key in due])

    async def compact(self, list_: TimelineList, cap: int, length: int | None) -> Sequence[bytes]:
        """Sort the log of a list into its base; delete a list without one. Return the head."""
        key = self._connection.keys.for_list(list_)
        answer, head = await self._connection.ask(
            [("EVAL", timeline_lists.COMPACT, 1, key, cap), _read_head(key, length)]
        )
        METRICS.add(Metric.LIST_COMPACTED, answer == timeline_lists.REPLACED)
        METRICS.add(Metric.LIST_OVERGROWN, answer == timeline_lists.DELETED)
        return cast("Sequence[bytes]", head)

    async def begin_builds(
        self, lists: Sequence[TimelineList], build_lease: str
    ) -> Leased[TimelineList]:
        """Take the build leases of those lists that are absent."""
        key = self._connection.keys.for_list
        ttl = int(self._build_seconds * 1000)
        commands: list[Command] = [
            ("EVAL", timeline_lists.BEGIN_BUILD, 1, key(list_), build_lease, ttl) for list_ in lists
        ]
        shards = {list_.shard for list_ in lists}
        answers, applied = await self._connection.ask_with_applied(commands, shards)
        taken = [list_ for list_, answer in zip(lists, answers, strict=True) if answer == 1]
        return Leased(taken, applied)

    async def finish_builds(
        self, bases: Mapping[TimelineList, ListBase], build_lease: str, cap: int
    ) -> list[TimelineList]:
        """Give lists their bases, and return the lists for which that was possible."""
        keys = [self._connection.keys.for_list(list_) for list_ in bases]
        commands: list[Command] = []
        for key, base in zip(keys, bases.values(), strict=True):
            is_complete = int(len(base.ids) < cap)
            separator = timeline_lists.encode_separator(base.pull_authors)
            arguments: Command = (build_lease, cap, self._ttl_seconds, is_complete, separator)
            commands.append(("EVAL", timeline_lists.FINISH_BUILD, 1, key, *arguments, *base.ids))
        answers = await self._connection.ask(commands)
        METRICS.add(Metric.BUILD_REFUSED, answers.count(0))
        self._touched.update(keys)  # the script sets the full TTL
        return [
            list_
            for list_, answer in zip(bases, answers, strict=True)
            if answer == timeline_lists.REPLACED
        ]

    async def abandon_builds(self, lists: Iterable[TimelineList], build_lease: str) -> int:
        """Remove those of the lists that have this build lease; return how many there were."""
        key = self._connection.keys.for_list
        return sum(
            await self._connection.ask(
                [
                    ("EVAL", timeline_lists.ABANDON_BUILD, 1, key(list_), build_lease)
                    for list_ in lists
                ]
            )
        )

    async def applied(self, shard: Shard) -> Moment | None:
        """Return what the fan-out has applied to a shard; None if a checkpoint is absent."""
        _, applied = await self._connection.ask_with_applied([], {shard})
        return applied

    def _begin_period_if_due(self) -> None:
        now = self._clock()
        if now > self._touched_until:
            self._touched.clear()
            self._touched_until = now + self._ttl_seconds * TOUCH_FRACTION
            self._touch_period += 1


def _read_head(key: str, length: int | None) -> Command:
    return ("LRANGE", key, 0, -1 if length is None else length - 1)
