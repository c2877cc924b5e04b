"""A fake Redis for the read service: timeline lists, tweets and checkpoints of one history.

Its lists hold the elements that the real ones hold. Each script and each command is one atomic
step, so that a test can let something happen between any two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

from helpers.fakes.steps import Steps

from core.feed.history import Lsn, Moment
from core.feed.sharding import SHARDS, shard_of
from core.feed.timeline_lists import COMPLETE, SEPARATOR, TimelineList, encode_separator
from core.feed.tweet_cache import DELETED, encode_lease, is_lease
from read_service.local_timelines import LocalTimelines
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import CacheUnavailableError, Leased, ListBase

Element = bytes


class FakeRedis:
    """What the keys hold, and what the fan-out does to them."""

    def __init__(self, history: str, local: LocalTweetCache, timelines: LocalTimelines) -> None:
        """Begin empty, and with checkpoints at LSN 0.

        Args:
            history: the only one whose keys exist.
            local: remembers the tweets that are read.
            timelines: is told at once of changes of tracked lists and tweets.
        """
        self.history = history
        self.is_up = True
        self.steps = Steps()
        self.lists: dict[TimelineList, list[Element]] = {}
        self.tweets: dict[int, bytes] = {}
        self.applied: dict[int, Lsn] = {shard: Lsn(0) for shard in range(SHARDS)}
        """What has been applied to each shard; a shard that lacks a checkpoint is not in here."""
        self.touched: list[TimelineList] = []
        self.touch_period = 1
        self.forget: Callable[[Sequence[bytes] | None], None] = timelines.forget
        """Called with the keys of tracked reads that have changed; None: all."""
        self._local = local
        self._tracked: set[int | TimelineList] = set()

    async def step(self, name: str) -> None:
        """Wait for the turn of a step.

        Raises:
            CacheUnavailableError: this Redis is down.
        """
        await self.steps.take(name)
        if not self.is_up:
            raise CacheUnavailableError

    # What the fan-out does.

    def push(self, list_: TimelineList, *ids: int) -> None:
        """Push ids to a list if there is one."""
        if list_ in self.lists:
            self.lists[list_][:0] = [b"%d" % id_ for id_ in reversed(ids)]
            self.report_change(list_)

    def trim(self, list_: TimelineList, length: int) -> None:
        """Cut a list off after its first elements."""
        if list_ in self.lists:
            del self.lists[list_][length:]
            self.report_change(list_)

    def drop(self, list_: TimelineList) -> None:
        """Remove a list."""
        self.lists.pop(list_, None)
        self.report_change(list_)

    def apply_tweet(self, tweet_id: int, value: bytes) -> None:
        """Store the value of a tweet unless the present value is at least as new."""
        old = self.tweets.get(tweet_id)
        if old == DELETED:
            return
        if old is not None and not is_lease(old) and value != DELETED:
            version, newer = (int(found.partition(b":")[0]) for found in (old, value))
            if version >= newer:
                return
        self._set(tweet_id, value)

    def set_applied(self, shard: int, lsn: Lsn | None) -> None:
        """Set the checkpoints of a shard; None removes one of them."""
        if lsn is None:
            self.applied.pop(shard, None)
        else:
            self.applied[shard] = lsn

    def applied_to(self, shards: Collection[int]) -> Moment | None:
        """Return what has been applied to all of the shards."""
        if not self.applied.keys() >= set(shards):
            return None
        return Moment(self.history, max(self.applied[shard] for shard in shards))

    # What the tests look at and change.

    def elements(self, list_: TimelineList) -> list[Element]:
        """Return the elements of a list."""
        return list(self.lists.get(list_, []))

    def put_list(self, list_: TimelineList, *elements: Element) -> None:
        """Replace a list."""
        self.lists[list_] = list(elements)
        self.report_change(list_)

    def value(self, tweet_id: int) -> bytes | None:
        """Return the value of a tweet."""
        return self.tweets.get(tweet_id)

    def remove_tweet(self, tweet_id: int) -> None:
        """Remove a tweet, or the fill lease that is in its place."""
        self._set(tweet_id, None)

    def flush(self) -> None:
        """Lose everything."""
        self.lists.clear()
        self.tweets.clear()
        self.applied.clear()
        self.disconnect()

    def disconnect(self) -> None:
        """Lose the connection, and with it what is tracked."""
        self._tracked.clear()
        self.forget(None)

    def track(self, list_: TimelineList) -> None:
        """Report the next change of a list."""
        self._tracked.add(list_)

    def report_change(self, key: int | TimelineList) -> None:
        """Tell the process of a change of a list or a tweet, if it is tracked."""
        if key not in self._tracked:
            return
        self._tracked.remove(key)
        name = f"tweet:{key}" if isinstance(key, int) else f"{key.kind}:{key.user_id}"
        self.forget([f"fake:{name}".encode()])

    def read_tracked(self, ids: Sequence[int]) -> list[bytes | None]:
        """Return the values of tweets; when these change, the local tweet cache is told."""
        self._tracked.update(ids)
        values = [self.tweets.get(id_) for id_ in ids]
        self._local.remember(ids, values)
        return values

    def set_if_absent(self, tweet_id: int, value: bytes) -> bool:
        """Store the value of a tweet if it has none; return whether it had none."""
        if tweet_id in self.tweets:
            return False
        self._set(tweet_id, value)
        return True

    def fill(self, tweet_id: int, held: bytes, value: bytes) -> None:
        """Replace a fill lease by a value, or remove it for an empty value."""
        if self.tweets.get(tweet_id) == held:
            self._set(tweet_id, value or None)

    def _set(self, tweet_id: int, value: bytes | None) -> None:
        self.report_change(tweet_id)
        if value is None:
            self.tweets.pop(tweet_id, None)
        else:
            self.tweets[tweet_id] = value


class FakeTimelineCache:
    """The `TimelineCache` in a fake Redis."""

    def __init__(self, redis: FakeRedis) -> None:
        self._redis = redis

    async def heads(
        self,
        wanted: Collection[tuple[TimelineList, int | None]],
        *,
        tracked: Container[TimelineList] = (),
        parsed: Callable[[Sequence[Sequence[bytes]]], None] | None = None,
    ) -> Sequence[Sequence[bytes]]:
        """Return the first elements of lists."""
        await self._redis.step("read lists")
        for list_, _ in wanted:
            if list_ in tracked:
                self._redis.track(list_)
        heads = [self._redis.elements(list_)[:length] for list_, length in wanted]
        if parsed is not None:
            parsed(heads)
        return heads

    async def barrier(self) -> None:
        """Wait for Redis, which reports changes at once."""
        await self._redis.step("barrier")

    @property
    def touch_period(self) -> int:
        """A number that a test may change."""
        return self._redis.touch_period

    async def touch(self, lists: Iterable[TimelineList]) -> None:
        """Note which lists were touched."""
        await self._redis.step("touch")
        for list_ in lists:
            if list_ not in self._redis.touched:
                self._redis.touched.append(list_)
                self._redis.report_change(list_)

    async def compact(self, list_: TimelineList, cap: int, length: int | None) -> Sequence[bytes]:
        """Sort the log of a list into its base, and return the head of the list."""
        await self._redis.step("compact")
        self._compact(list_, cap)
        return self._redis.elements(list_)[:length]

    def _compact(self, list_: TimelineList, cap: int) -> None:
        elements = self._redis.elements(list_)
        if not elements or elements[-1].startswith(b"B"):
            return
        log, middle, base = _parts(elements)
        if middle is None or not base:
            self._redis.drop(list_)
            return
        is_complete = base[-1] == COMPLETE
        ids = {*log, *map(int, base)} - {0}
        if not is_complete:
            ids = {id_ for id_ in ids if id_ >= int(base[-1])}
        self._redis.put_list(list_, middle, *_base(ids, cap, is_complete=is_complete))

    async def begin_builds(
        self, lists: Sequence[TimelineList], build_lease: str
    ) -> Leased[TimelineList]:
        """Take the build leases of absent lists, then look at the checkpoints."""
        taken = []
        for list_ in lists:
            await self._redis.step("begin build")
            if list_ not in self._redis.lists:
                self._redis.put_list(list_, SEPARATOR, _building(build_lease))
                taken.append(list_)
        await self._redis.step("read checkpoints")
        return Leased(taken, self._redis.applied_to({list_.shard for list_ in lists}))

    async def finish_builds(
        self, bases: Mapping[TimelineList, ListBase], build_lease: str, cap: int
    ) -> list[TimelineList]:
        """Give lists their bases."""
        built = []
        for list_, base in bases.items():
            await self._redis.step("finish build")
            if self._is_held(list_, build_lease):
                log, _, _ = _parts(self._redis.elements(list_))
                elements = _base({*base.ids, *log}, cap, is_complete=len(base.ids) < cap)
                self._redis.put_list(list_, encode_separator(base.pull_authors), *elements)
                built.append(list_)
        return built

    async def abandon_builds(self, lists: Iterable[TimelineList], build_lease: str) -> int:
        """Remove lists that are held by this lease."""
        removed = 0
        for list_ in lists:
            await self._redis.step("abandon build")
            if self._is_held(list_, build_lease):
                self._redis.drop(list_)
                removed += 1
        return removed

    async def applied(self, shard: int) -> Moment | None:
        """Return what has been applied to a shard."""
        await self._redis.step("read checkpoints")
        return self._redis.applied_to({shard})

    def _is_held(self, list_: TimelineList, build_lease: str) -> bool:
        return self._redis.elements(list_)[-1:] == [_building(build_lease)]


class FakeTweetCache:
    """The `TweetCache` in a fake Redis."""

    def __init__(self, redis: FakeRedis) -> None:
        self._redis = redis

    async def read(self, ids: Sequence[int]) -> Sequence[bytes | None]:
        """Return the values of tweets."""
        await self._redis.step("read tweets")
        return self._redis.read_tracked(ids)

    async def take_fill_leases(self, ids: Sequence[int], fill_lease: str) -> Leased[int]:
        """Take the leases of absent tweets, then look at the checkpoints."""
        await self._redis.step("take fill leases")
        taken = [id_ for id_ in ids if self._redis.set_if_absent(id_, encode_lease(fill_lease))]
        await self._redis.step("read checkpoints")
        return Leased(taken, self._redis.applied_to(set(map(shard_of, ids))))

    async def fill(self, values: Mapping[int, bytes], fill_lease: str) -> None:
        """Store the values of tweets whose leases are still held."""
        for tweet_id, value in values.items():
            await self._redis.step("fill")
            self._redis.fill(tweet_id, encode_lease(fill_lease), value)


def _building(build_lease: str) -> Element:
    return b"B" + build_lease.encode()


def _parts(elements: Sequence[Element]) -> tuple[list[int], Element | None, Sequence[Element]]:
    """Return the log, the separator, and the base with its tail."""
    for at, element in enumerate(elements):
        if element.startswith(SEPARATOR):
            return [int(id_) for id_ in elements[:at]], element, elements[at + 1 :]
    return [int(id_) for id_ in elements], None, []


def _base(ids: set[int], cap: int, *, is_complete: bool) -> list[Element]:
    """Return the newest of the ids, and the tail if they are all there are."""
    base = [b"%d" % id_ for id_ in sorted(ids, reverse=True)[:cap]]
    return [*base, COMPLETE] if is_complete and len(ids) <= cap else base
