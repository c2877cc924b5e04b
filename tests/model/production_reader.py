"""The read service's own code in the simulation: its coroutines, on the model's servers.

`page` and `page_with_token` can stand in for those of reader.py. Each command of Redis and each
statement of Postgres is one atomic step, after which any other actor may go on.
"""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from typing import ParamSpec, TypeVar, cast

from helpers.fakes.steps import others_run
from model import reader
from model.events import SHARDS, Tweet
from model.postgres import FROM_THE_TOP, Moment
from model.production_postgres import PrimarySession, ReplicaSession, Server, message_of, tweet_in
from model.redis import LENGTH, CachedTweet, Deleted, Lease, ListKey, RedisAwayError, Space
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
from core.rpc.messages import delimited
from read_service import pages
from read_service.databases import Databases
from read_service.freshness import ANY, Freshness, TokenFreshness
from read_service.home_timelines import HomeTimelines
from read_service.list_building import ListBuilder
from read_service.lists import ListReader
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import CacheUnavailableError, Leased, ListBase, TweetPage
from read_service.store import PostgresStore
from read_service.tweets import TweetReader

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
            found = yield from _drive(_tweets(world).tweets(ids))
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
        found: TweetPage = yield from _drive(read)
    except UserNotFoundError:
        return []
    return [tweet_in(message[1:]) for message in found.tweets]


def _drive(coroutine: Awaitable[T]) -> Steps[T]:
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
    cache, store = _TimelineCache(world), _store(world)
    lists = ListReader(cache, ListBuilder(cache, store, LENGTH, clock=lambda: 0), LENGTH)
    return HomeTimelines(cache, lists, store, _tweets(world), LENGTH)


def _tweets(world: World) -> TweetReader:
    return TweetReader(_TweetCache(world), _LocalTweetCache(world), _store(world))


def _store(world: World) -> PostgresStore:
    primary = Server(lambda: PrimarySession(world, world.postgres))
    replica = Server(lambda: ReplicaSession(world, world.replica))
    return PostgresStore(Databases(primary, replica))


# Redis ---------------------------------------------------------------------------------


class _Cache:
    """Sends commands for the history that is known at that moment, as CacheConnection does."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ask(self, command: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Return the answer to one command. Other actors may take steps before it is parsed."""
        known, local = self._world.known, self._world.local_cache
        try:
            connection = local.connect()
            answer = command(*args, **named)
            await others_run()
            local.parse(connection)
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
            await self.ask(reader.applied, self._world, known, shard)
            for shard in sorted({shard % SHARDS for shard in shards})
        ]
        lsns = [histories.Lsn(lsn) for lsn in found if lsn is not None]
        return histories.Moment(known, max(lsns)) if len(lsns) == len(found) else None


class _TimelineCache(_Cache):
    """The `TimelineCache`."""

    async def heads(
        self, wanted: Collection[tuple[TimelineList, int | None]]
    ) -> Sequence[Sequence[bytes]]:
        lists = self.space.lists
        heads = []
        for list_, length in wanted:
            elements = await self.ask(lambda key: list(lists.get(key, [])), _key(list_))
            heads.append(elements[:length])
        return heads

    async def touch(self, lists: Iterable[TimelineList]) -> None:
        """Do nothing: in the model, keys expire at random."""

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
        return [_value(answer.entries[id_]) for id_ in ids]

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


class _LocalTweetCache(LocalTweetCache):
    """The model's local tweet cache, to which the model's Redis sends answers and changes."""

    def __init__(self, world: World) -> None:
        super().__init__(0)
        self._world = world

    def known(self, ids: Iterable[int]) -> dict[int, bytes | None]:
        known = self._world.known
        found = self._world.local_cache.known(known, list(ids)) if known is not None else {}
        return {
            id_: delimited(message_of(entry)) if isinstance(entry, Tweet) else None
            for id_, entry in found.items()
        }

    def missing(self, ids: Iterable[int]) -> list[int]:
        ids = list(ids)
        known = self.known(ids)
        return [id_ for id_ in ids if id_ not in known]

    def page(self, ids: Sequence[int]) -> TweetPage | None:
        found = [tweet for tweet in self.known(ids).values() if tweet is not None]
        return TweetPage(ids, found) if len(found) == len(ids) else None


# Conversions between the values of the model and those of production --------------------


def _key(list_: TimelineList) -> ListKey:
    return ListKey(list_.kind.value, list_.user_id)


def _value(entry: CachedTweet | None) -> bytes | None:
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
