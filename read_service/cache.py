"""Redis, as the queries see it: windows, builds and bodies, each call bounded in time.

When Redis fails a few times in a row, nobody asks it for a second: callers then have their answer
from Postgres at once instead of after a timeout each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from core import bodies, timeline
from core.counters import COUNTERS, Rare
from core.progress import progress_keys, required_wal_position
from core.redis_memory import is_out_of_memory
from core.shards import shard_of
from core.timeline import TimelineList
from read_service.hot_bodies import HotBodies
from read_service.stream import TRACKED, Command, Replies, Stream

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 0.2
FAILURES_TO_PAUSE = 3
PAUSE_SECONDS = 1.0
# Some 30 MB of tweets.
MAX_HOT_BODIES = 100_000
# A list's TTL is refreshed at most once in this part of it, as far as one can remember.
KEPT_PART = 100
MAX_KEPT = 100_000


class CacheUnavailableError(Exception):
    """Redis does not answer, or has no memory for what is asked: Postgres must answer."""


@dataclass(frozen=True)
class Base:
    """What Postgres says for the base of a list."""

    ids: Sequence[int]
    """The newest, newest first; fewer than the list's cap are all there are."""
    pulled: Sequence[int] = ()
    """The pulled authors to be merged with it."""


class Cache:
    """The timelines and bodies in Redis."""

    def __init__(
        self,
        url: str,
        ttl_seconds: int,
        build_seconds: float,
        lease_seconds: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the Redis at the URL.

        ttl_seconds: of lists and bodies after their last read. build_seconds, lease_seconds: how
        long a builder or filler may take before another one may begin.
        """
        self.hot = HotBodies(MAX_HOT_BODIES)
        self._stream = Stream(url, TIMEOUT_SECONDS, self.hot.forget)
        self._ttl_seconds = ttl_seconds
        self._build_seconds = build_seconds
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._failures = 0
        self._paused_until = 0.0
        self._kept: set[str] = set()
        self._kept_until = 0.0

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    async def heads(self, wanted: Collection[tuple[TimelineList, int | None]]) -> Replies:
        """Return, for each (list, length), the list's first elements; all of them for None."""
        return await self._ask(
            [
                ("LRANGE", list_.key, 0, -1 if length is None else length - 1)
                for list_, length in wanted
            ]
        )

    async def compact(self, list_: TimelineList, cap: int) -> None:
        """Sort a list's log into its base, or delete a list that has lost its base."""
        (answer,) = await self._ask([("EVAL", timeline.COMPACT, 1, list_.key, cap)])
        COUNTERS.add(Rare.LIST_COMPACTED, answer == timeline.REPLACED)
        COUNTERS.add(Rare.LIST_OVERGROWN, answer == timeline.DELETED)

    async def begin_builds(
        self, lists: Sequence[TimelineList], token: str
    ) -> tuple[list[bool], int | None]:
        """Begin to build lists.

        Return for each whether the caller is now its builder, and the WAL position of which a
        Postgres must be for what is read to be right (None: nothing may be built). In this order,
        on one connection: whatever is applied after the position was taken finds the lists to
        push to.
        """
        ttl = int(self._build_seconds * 1000)
        commands: list[Command] = [
            ("EVAL", timeline.BEGIN_BUILD, 1, list_.key, token, ttl) for list_ in lists
        ]
        shards = sorted({list_.shard for list_ in lists})
        answers = await self._ask([*commands, *map(_read_progress, shards)])
        values = [value for answer in answers[len(lists) :] for value in answer]
        return [answer == 1 for answer in answers[: len(lists)]], required_wal_position(values)

    async def finish_builds(
        self, bases: Mapping[TimelineList, Base], token: str, cap: int
    ) -> list[bool]:
        """Give lists their bases; return for each whether it was not overtaken."""
        commands: list[Command] = []
        for list_, base in bases.items():
            complete = int(len(base.ids) < cap)
            separator = timeline.separator(base.pulled)
            arguments: Command = (token, cap, self._ttl_seconds, complete, separator)
            commands.append(("EVAL", timeline.FINISH_BUILD, 1, list_.key, *arguments, *base.ids))
        answers = await self._ask(commands)
        COUNTERS.add(Rare.BUILD_REFUSED, answers.count(0))
        self._kept.update(list_.key for list_ in bases)  # a build gives the whole TTL
        return [answer == timeline.REPLACED for answer in answers]

    async def abandon_builds(self, lists: Iterable[TimelineList], token: str) -> int:
        """Remove lists that this builder will not finish; return how many there were."""
        return sum(
            await self._ask(
                [("EVAL", timeline.ABANDON_BUILD, 1, list_.key, token) for list_ in lists]
            )
        )

    async def keep(self, lists: Iterable[TimelineList]) -> None:
        """Let lists live for their whole TTL from now on, or from not long ago."""
        due = [list_.key for list_ in lists if list_.key not in self._kept]
        if not due:
            return
        now = self._clock()
        if now > self._kept_until or len(self._kept) > MAX_KEPT:
            self._kept.clear()
            self._kept_until = now + self._ttl_seconds / KEPT_PART
        self._kept.update(due)
        await self._ask([("EXPIRE", key, self._ttl_seconds) for key in due])

    async def applied_wal_position(self, shard: int) -> int | None:
        """Return up to where in the WAL a shard has been told; None if nobody tells it."""
        (values,) = await self._ask([_read_progress(shard)])
        return required_wal_position(values)

    async def bodies(self, ids: Sequence[int]) -> list[bytes | None]:
        """Return the values of the tweets' bodies, in order; None for those not there."""
        (_, values) = await self._ask(
            [TRACKED, ("MGET", *map(bodies.body_key, ids))],
            lambda answers: self.hot.keep(ids, answers[1]),
        )
        return list(values)

    async def lease_bodies(self, ids: Sequence[int], token: str) -> tuple[list[bool], int | None]:
        """Take leases to fill bodies.

        Return for each whether it was taken, and the WAL position of which a Postgres must be
        for what is filled in to be right (None: nothing may be filled).
        """
        lease = bodies.lease(token)
        commands: list[Command] = [
            ("SET", bodies.body_key(tweet_id), lease, "NX", "EX", self._lease_seconds)
            for tweet_id in ids
        ]
        shards = sorted({shard_of(tweet_id) for tweet_id in ids})
        answers = await self._ask([*commands, *map(_read_progress, shards)])
        values = [value for answer in answers[len(ids) :] for value in answer]
        leased = [answer is not None for answer in answers[: len(ids)]]
        return leased, required_wal_position(values)

    async def fill_bodies(self, values: Sequence[tuple[int, bytes]], token: str) -> None:
        """Fill the bodies whose leases are still held; an empty value gives the lease up."""
        lease = bodies.lease(token)
        answers = await self._ask(
            [
                ("EVAL", bodies.FILL, 1, bodies.body_key(id_), lease, value, self._ttl_seconds)
                for id_, value in values
            ]
        )
        COUNTERS.add(Rare.LEASE_LOST, answers.count(0))
        COUNTERS.add(Rare.BODY_FILLED, answers.count(1))

    async def _ask(
        self, commands: Sequence[Command], parsed: Callable[[Replies], None] | None = None
    ) -> Replies:
        if self._clock() < self._paused_until:
            raise CacheUnavailableError
        try:
            answers = await self._stream.ask(commands, parsed)
        except (RedisError, OSError, TimeoutError) as error:
            if is_out_of_memory(error):
                # It answers, and what it holds can still be read: no reason to leave it alone.
                COUNTERS.add(Rare.CACHE_REFUSED)
                raise CacheUnavailableError from error
            self._failures += 1
            if self._failures >= FAILURES_TO_PAUSE:
                self._paused_until = self._clock() + PAUSE_SECONDS
                COUNTERS.add(Rare.REDIS_PAUSED)
                LOG.warning("Redis fails, Postgres answers for a while: %s", error)
            raise CacheUnavailableError from error
        self._failures = 0
        return answers


def _read_progress(shard: int) -> Command:
    return ("MGET", *progress_keys(shard))
