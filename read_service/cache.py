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

from core.feed import timeline_lists as timeline
from core.feed import tweet_cache as bodies
from core.feed.checkpoints import required_lsn
from core.feed.history import Moment
from core.feed.keys import Keys
from core.feed.sharding import shard_of
from core.feed.timeline_lists import TimelineList
from core.runtime.metrics import METRICS, Metric
from core.storage.redis_memory import is_out_of_memory
from read_service.local_tweet_cache import HotBodies
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
    """Redis does not answer, has no memory, or must not be trusted: Postgres must answer."""


@dataclass(frozen=True)
class Base:
    """What Postgres says for the base of a list."""

    ids: Sequence[int]
    """The newest, newest first; fewer than the list's cap are all there are."""
    pulled: Sequence[int] = ()
    """The pulled authors to be merged with it."""


class Cache:
    """The timelines and bodies in Redis, of one history at a time."""

    def __init__(  # noqa: PLR0913 - each is a plain fact about Redis
        self,
        url: str,
        prefix: str,
        ttl_seconds: int,
        build_seconds: float,
        *,
        lease_seconds: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the Redis at the URL; until enter() names a history, nothing is there.

        prefix: FANFARE_REDIS_PREFIX. ttl_seconds: of lists and bodies after their last read.
        build_seconds, lease_seconds: how long a builder or filler may take before another one may
        begin.
        """
        self.hot = HotBodies(MAX_HOT_BODIES)
        self._stream = Stream(url, TIMEOUT_SECONDS, self.hot.forget)
        self._prefix = prefix
        self._keys = Keys.of(prefix, "")
        self.history: str | None = None
        """The history that is read; None while Redis must not be trusted."""
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

    def enter(self, history: str | None) -> None:
        """Read what is kept for a history from now on; None: trust nothing.

        Calls that are under way fail with CacheUnavailableError, and the bodies in process are
        forgotten, since the connection is closed.
        """
        self._keys = Keys.of(self._prefix, history or "")
        self.history = history
        self._kept.clear()
        self._stream.close()

    async def heads(self, wanted: Collection[tuple[TimelineList, int | None]]) -> Replies:
        """Return, for each (list, length), the list's first elements; all of them for None."""
        return await self._ask(
            [
                ("LRANGE", self._keys.for_list(list_), 0, -1 if length is None else length - 1)
                for list_, length in wanted
            ]
        )

    async def compact(self, list_: TimelineList, cap: int) -> None:
        """Sort a list's log into its base, or delete a list that has lost its base."""
        (answer,) = await self._ask(
            [("EVAL", timeline.COMPACT, 1, self._keys.for_list(list_), cap)]
        )
        METRICS.add(Metric.LIST_COMPACTED, answer == timeline.REPLACED)
        METRICS.add(Metric.LIST_OVERGROWN, answer == timeline.DELETED)

    async def begin_builds(
        self, lists: Sequence[TimelineList], token: str
    ) -> tuple[list[bool], Moment | None]:
        """Begin to build lists.

        Return for each whether the caller is now its builder, and the moment that a Postgres must
        have reached for what is read to be right (None: nothing may be built). In this order, on
        one connection: whatever is applied after the moment was taken finds the lists to push to.
        """
        ttl = int(self._build_seconds * 1000)
        commands: list[Command] = [
            ("EVAL", timeline.BEGIN_BUILD, 1, self._keys.for_list(list_), token, ttl)
            for list_ in lists
        ]
        shards = {list_.shard for list_ in lists}
        answers, moment = await self._ask_with_progress(commands, shards)
        return [answer == 1 for answer in answers], moment

    async def finish_builds(
        self, bases: Mapping[TimelineList, Base], token: str, cap: int
    ) -> list[bool]:
        """Give lists their bases; return for each whether it was not overtaken."""
        commands: list[Command] = []
        for list_, base in bases.items():
            complete = int(len(base.ids) < cap)
            separator = timeline.separator(base.pulled)
            arguments: Command = (token, cap, self._ttl_seconds, complete, separator)
            key = self._keys.for_list(list_)
            commands.append(("EVAL", timeline.FINISH_BUILD, 1, key, *arguments, *base.ids))
        answers = await self._ask(commands)
        METRICS.add(Metric.BUILD_REFUSED, answers.count(0))
        self._kept.update(map(self._keys.for_list, bases))  # a build gives the whole TTL
        return [answer == timeline.REPLACED for answer in answers]

    async def abandon_builds(self, lists: Iterable[TimelineList], token: str) -> int:
        """Remove lists that this builder will not finish; return how many there were."""
        return sum(
            await self._ask(
                [
                    ("EVAL", timeline.ABANDON_BUILD, 1, self._keys.for_list(list_), token)
                    for list_ in lists
                ]
            )
        )

    async def keep(self, lists: Iterable[TimelineList]) -> None:
        """Let lists live for their whole TTL from now on, or from not long ago."""
        due = [key for key in map(self._keys.for_list, lists) if key not in self._kept]
        if not due:
            return
        now = self._clock()
        if now > self._kept_until or len(self._kept) > MAX_KEPT:
            self._kept.clear()
            self._kept_until = now + self._ttl_seconds / KEPT_PART
        self._kept.update(due)
        await self._ask([("EXPIRE", key, self._ttl_seconds) for key in due])

    async def applied(self, shard: int) -> Moment | None:
        """Return up to which moment a shard has been told; None if nobody tells it."""
        _, moment = await self._ask_with_progress([], {shard})
        return moment

    async def bodies(self, ids: Sequence[int]) -> list[bytes | None]:
        """Return the values of the tweets' bodies, in order; None for those not there."""
        (_, values) = await self._ask(
            [TRACKED, ("MGET", *map(self._keys.tweet, ids))],
            lambda answers: self.hot.keep(ids, answers[1]),
        )
        return list(values)

    async def lease_bodies(
        self, ids: Sequence[int], token: str
    ) -> tuple[list[bool], Moment | None]:
        """Take leases to fill bodies.

        Return for each whether it was taken, and the moment that a Postgres must have reached for
        what is filled in to be right (None: nothing may be filled).
        """
        lease = bodies.lease(token)
        commands: list[Command] = [
            ("SET", self._keys.tweet(tweet_id), lease, "NX", "EX", self._lease_seconds)
            for tweet_id in ids
        ]
        answers, moment = await self._ask_with_progress(commands, set(map(shard_of, ids)))
        return [answer is not None for answer in answers], moment

    async def fill_bodies(self, values: Sequence[tuple[int, bytes]], token: str) -> None:
        """Fill the bodies whose leases are still held; an empty value gives the lease up."""
        lease = bodies.lease(token)
        answers = await self._ask(
            [
                ("EVAL", bodies.FILL, 1, self._keys.tweet(id_), lease, value, self._ttl_seconds)
                for id_, value in values
            ]
        )
        METRICS.add(Metric.FILL_LEASE_LOST, answers.count(0))
        METRICS.add(Metric.TWEET_FILLED, answers.count(1))

    async def _ask_with_progress(
        self, commands: Sequence[Command], shards: Iterable[int]
    ) -> tuple[Replies, Moment | None]:
        """Return the answers, and the moment that the shards have been told of after the commands.

        None for the moment if one of the shards is told nothing.
        """
        history = self.history
        asked: list[Command] = [
            ("MGET", *self._keys.checkpoints(shard)) for shard in sorted(shards)
        ]
        answers = await self._ask([*commands, *asked])
        values = [value for answer in answers[len(commands) :] for value in answer]
        lsn = required_lsn(values)
        moment = Moment(history, lsn) if history is not None and lsn is not None else None
        return answers[: len(commands)], moment

    async def _ask(
        self, commands: Sequence[Command], parsed: Callable[[Replies], None] | None = None
    ) -> Replies:
        history = self.history
        if history is None or self._clock() < self._paused_until:
            raise CacheUnavailableError

        def parsed_in_time(answers: Replies) -> None:
            if parsed is not None and self.history == history:
                parsed(answers)

        try:
            answers = await self._stream.ask(commands, parsed_in_time)
        except (RedisError, OSError, TimeoutError) as error:
            if is_out_of_memory(error):
                # It answers, and what it holds can still be read: no reason to leave it alone.
                METRICS.add(Metric.CACHE_REFUSED)
                raise CacheUnavailableError from error
            self._failures += 1
            if self._failures >= FAILURES_TO_PAUSE:
                self._paused_until = self._clock() + PAUSE_SECONDS
                METRICS.add(Metric.REDIS_PAUSED)
                LOG.warning("Redis fails, Postgres answers for a while: %s", error)
            raise CacheUnavailableError from error
        self._failures = 0
        if self.history != history:
            # The connection was just being made when enter() closed all there was.
            raise CacheUnavailableError
        return answers
