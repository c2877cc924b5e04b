"""The read service's own code in the simulation: its coroutines, on the model's servers.

`page` and `page_with_token` can stand in for those of reader.py. Each command of Redis and each
statement of Postgres is one atomic step, after which any other actor may go on.
"""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Container,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from typing import ParamSpec, TypeVar, cast

from helpers.fakes.steps import others_run
from model.events import SHARDS, Tweet
from model.lists import applied
from model.postgres import FROM_THE_TOP, Moment
from model.production_postgres import PrimarySession, ReplicaSession, Server, message_of, tweet_in
from model.redis import (
    LENGTH,
    Answer,
    CachedTweet,
    Changed,
    Deleted,
    Lease,
    ListKey,
    Message,
    RedisAwayError,
    Reply,
    Space,
)
from model.world import Steps, World

from core.errors import (
    ConsistencyTokenLostError,
    DatabaseUnavailableError,
    NotYetConsistentError,
    UserNotFoundError,
)
from core.feed import history as histories
from core.feed import tweet_cache
from core.feed.timeline_lists import TimelineList, encode_separator
from core.storage.queries import load_queries
from read_service import pages
from read_service.databases import Databases
from read_service.first_pages import FirstPages
from read_service.freshness import ANY, Freshness, TokenFreshness
from read_service.home_timelines import HomeTimelines
from read_service.list_building import ListBuilder
from read_service.lists import ListReader
from read_service.local_timelines import MAX_BYTES, LocalTimelines
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import CacheUnavailableError, Leased, ListBase, TweetPage
from read_service.store import PostgresStore
from read_service.tweets import TweetReader

SQL = load_queries("read_service")
TOUCHED = 0.1
"""How often a touch is due."""
P = ParamSpec("P")
T = TypeVar("T")


def page(world: World, viewer: int, before: int, limit: int) -> Steps[list[Tweet]]:
    """Return a page of a home timeline, as a read without a consistency token gets it.

    A read whose session on Postgres ends fails, and its caller tries again.
    """
    world.figures["pages of the production code"] += 1
    while True:
        try:
            return (yield from _page(world, viewer, before, limit, ANY))
        except DatabaseUnavailableError:
            yield


def tweets_by_id(world: World, ids: Sequence[int]) -> Steps[dict[int, Tweet]]:
    """Return those of the tweets that exist, as a read without a consistency token gets them."""
    world.figures["tweets by id of the production code"] += 1
    while True:
        try:
            found = yield from drive(_tweets(world).tweets(ids))
        except DatabaseUnavailableError:
            yield
        else:
            return {id_: tweet_in(message[1:]) for id_, message in found.items()}


def page_with_token(
    world: World, viewer: int, token: Moment, limit: int
) -> Steps[list[Tweet] | None]:
    """Return the first page as of the token's moment or later; None if the read is refused."""
    freshness = TokenFreshness(histories.Moment(token.history, histories.Lsn(token.lsn)))
    try:
        return (yield from _page(world, viewer, FROM_THE_TOP, limit, freshness))
    except (NotYetConsistentError, ConsistencyTokenLostError):
        return None


def _page(
    world: World, viewer: int, before: int, limit: int, freshness: Freshness
) -> Steps[list[Tweet]]:
    top = pages.FROM_THE_TOP if before == FROM_THE_TOP else before
    read = _home_timelines(world).page(viewer, top, 0, limit, freshness)
    try:
        found: TweetPage = yield from drive(read)
    except UserNotFoundError:
        return []
    return [tweet_in(message[1:]) for message in found.tweets]


async def _awaited(steps: Steps[None]) -> None:
    """Take steps of the model in a coroutine."""
    for _ in steps:
        await others_run()


def drive(coroutine: Awaitable[T]) -> Steps[T]:
    """Run a coroutine, and yield wherever one of the servers ends an atomic step."""
    running = cast("Coroutine[None, None, T]", coroutine)
    while True:
        try:
            running.send(None)
        except StopIteration as stop:
            return cast("T", stop.value)
        yield


def _home_timelines(world: World) -> HomeTimelines:
    """Return what read_service/__main__.py builds, on the model's servers."""
    cache, store, tweets = _TimelineCache(world), _store(world), _tweets(world)
    lists = ListReader(cache, ListBuilder(cache, store, LENGTH, clock=lambda: 0), LENGTH)
    first = FirstPages(cache, tweets, _process(world).timelines)
    return HomeTimelines(cache, lists, store, tweets, first)


def _tweets(world: World) -> TweetReader:
    return TweetReader(_TweetCache(world), _process(world).tweets, _store(world))


def _store(world: World) -> PostgresStore:
    primary = Server(lambda: PrimarySession(world, world.postgres))
    replica = Server(lambda: ReplicaSession(world, world.replica))
    return PostgresStore(Databases(primary, replica))


# The process ---------------------------------------------------------------------------


class _Process:
    """What the process keeps, in production's own caches, of the history that is known."""

    def __init__(self, world: World) -> None:
        self.tweets = LocalTweetCache(100)
        self.timelines = LocalTimelines(self.tweets, MAX_BYTES)
        self.history: str | None = None
        for (history, tweet_id), entry in world.local_cache.entries.items():
            if history == world.known:
                self.tweets.remember([tweet_id], [value_of(entry)])

    def enter(self, history: str | None) -> None:
        """Read the keys of another history from now on, as CacheConnection.enter() does."""
        if history != self.history:
            self.timelines.forget(None)
            self.history = history

    def receive(self, message: Message) -> None:
        """Take what the process has just parsed."""
        match message:
            case Answer() if message.history == self.history:
                values = [value_of(entry) for entry in message.entries.values()]
                self.tweets.remember(list(message.entries), values)
            case Changed(None):
                self.timelines.forget(None)
            case Changed((history, key)) if history == self.history:
                name = f"tweet:{key}" if isinstance(key, int) else str(key)
                self.timelines.forget([f"model:{name}".encode()])


def _process(world: World) -> _Process:
    """Return the process, at the history that is known."""
    receive = world.local_cache.listener
    process = getattr(receive, "__self__", None)
    if not isinstance(process, _Process):
        process = _Process(world)
        process.history = world.known
        world.local_cache.listener = process.receive
    process.enter(world.known)
    return process


# Redis ---------------------------------------------------------------------------------


class _Cache:
    """Sends commands for the history that is known at that moment, as CacheConnection does."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ask(self, command: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Return the answer to one command. Other actors may take steps before it is parsed."""
        local = self._world.local_cache

        async def ask() -> T:
            connection = local.connect()
            answer = command(*args, **named)
            await others_run()
            local.parse(connection)
            return answer

        return await self.trusted(ask())

    async def trusted(self, asking: Awaitable[T]) -> T:
        """Return an answer that is still of the history that was known when it was asked for."""
        known = self._world.known
        try:
            answer = await asking
        except RedisAwayError:
            raise CacheUnavailableError from None
        if self._world.known != known:
            raise CacheUnavailableError
        return answer

    @property
    def history(self) -> str:
        """The history that is known."""
        if self._world.known is None:
            raise CacheUnavailableError
        return self._world.known

    @property
    def space(self) -> Space:
        """The keys of that history."""
        return self._world.space(self.history)

    async def applied_to(self, shards: Iterable[int]) -> histories.Moment | None:
        """Return what has been applied to these shards, mapped to the fewer shards of the model."""
        known = self.history
        found = [
            await self.ask(applied, self._world, known, shard)
            for shard in sorted({shard % SHARDS for shard in shards})
        ]
        lsns = [histories.Lsn(lsn) for lsn in found if lsn is not None]
        return histories.Moment(known, max(lsns)) if len(lsns) == len(found) else None


class _TimelineCache(_Cache):
    """The `TimelineCache`."""

    async def heads(
        self,
        wanted: Collection[tuple[TimelineList, int | None]],
        *,
        tracked: Container[TimelineList] = (),
        parsed: Callable[[Sequence[Sequence[bytes]]], None] | None = None,
    ) -> Sequence[Sequence[bytes]]:
        redis, space, history = self._world.redis, self.space, self.history
        heads = []

        def read(list_: TimelineList, length: int | None) -> Sequence[bytes]:
            key = _key(list_)
            elements = space.lists.get(key, [])[:length]
            if parsed is not None:
                if list_ in tracked:
                    redis.tracked.add((history, key))
                redis.sent.append(Reply(lambda: self._parsed(history, parsed, [elements])))
            return elements

        for list_, length in wanted:
            heads.append(await self.ask(read, list_, length))
        return heads

    def _parsed(
        self,
        history: str,
        parsed: Callable[[Sequence[Sequence[bytes]]], None],
        heads: Sequence[Sequence[bytes]],
    ) -> None:
        """Pass on what was parsed, if it is of the history that is known."""
        if history == self._world.known == _process(self._world).history:
            parsed(heads)

    async def barrier(self) -> None:
        await self.trusted(_awaited(self._world.local_cache.barrier()))
        self._world.figures["barriers of the production code"] += 1

    @property
    def touch_period(self) -> int:
        """A constant: in the model, keys expire at random."""
        return 1

    async def touch(self, lists: Iterable[TimelineList]) -> None:
        """Change the TTLs of some of the lists."""
        for list_ in lists:
            if self._world.rng.random() < TOUCHED:
                await self.ask(self.space.change_list, _key(list_))

    async def compact(self, list_: TimelineList, cap: int) -> None:
        assert cap == LENGTH
        await self.ask(self.space.compact, _key(list_), keep_below_floor=False)

    async def begin_builds(
        self, lists: Sequence[TimelineList], build_lease: str
    ) -> Leased[TimelineList]:
        space = self.space
        taken = [
            list_ for list_ in lists if await self.ask(space.begin_build, _key(list_), build_lease)
        ]
        return Leased(taken, await self.applied_to({list_.shard for list_ in lists}))

    async def finish_builds(
        self, bases: Mapping[TimelineList, ListBase], build_lease: str, cap: int
    ) -> list[TimelineList]:
        assert cap == LENGTH
        space = self.space
        built = []
        for list_, base in bases.items():
            middle, is_complete = encode_separator(base.pull_authors), len(base.ids) < cap
            if await self.ask(
                space.finish_build,
                *(_key(list_), build_lease, base.ids, middle),
                complete=is_complete,
            ):
                built.append(list_)
        self._world.figures["builds of the production code"] += len(built)
        return built

    async def abandon_builds(self, lists: Iterable[TimelineList], build_lease: str) -> int:
        space = self.space
        for list_ in lists:
            await self.ask(space.abandon_build, _key(list_), build_lease)
        return 0

    async def applied(self, shard: int) -> histories.Moment | None:
        return await self.applied_to({shard})


class _TweetCache(_Cache):
    """The `TweetCache`."""

    async def read(self, ids: Sequence[int]) -> Sequence[bytes | None]:
        answer = await self.ask(self.space.read_tracked, ids)
        return [value_of(answer.entries[id_]) for id_ in ids]

    async def take_fill_leases(self, ids: Sequence[int], fill_lease: str) -> Leased[int]:
        space = self.space

        def set_if_absent(id_: int) -> bool:
            if id_ in space.tweet_cache:
                return False
            space.put_tweet(id_, Lease(fill_lease))
            return True

        taken = [id_ for id_ in ids if await self.ask(set_if_absent, id_)]
        return Leased(taken, await self.applied_to(ids))

    async def fill(self, values: Mapping[int, bytes], fill_lease: str) -> None:
        space = self.space
        for id_, value in values.items():
            await self.ask(space.fill_tweet, id_, fill_lease, _entry(value))


# Conversions between the values of the model and those of production --------------------


def _key(list_: TimelineList) -> ListKey:
    return ListKey(list_.kind.value, list_.user_id)


def value_of(entry: CachedTweet | None) -> bytes | None:
    """Return an entry of the tweet cache as Redis stores it."""
    match entry:
        case Tweet():
            return tweet_cache.encode_entry(entry.version, message_of(entry))
        case Deleted():
            return tweet_cache.DELETED
        case Lease():
            return tweet_cache.encode_lease(entry.token)
        case None:
            return None


def _entry(value: bytes) -> Tweet | Deleted | None:
    if not value:
        return None
    message = tweet_cache.decode_entry(value)
    return Deleted() if message is None else tweet_in(message)
