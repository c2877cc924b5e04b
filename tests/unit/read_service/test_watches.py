"""Watches: what their streams send, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from fanfare.read.v1 import read_pb2 as pb
from helpers.fakes.home_pages import AUTHOR, LENGTH, READER
from helpers.fakes.reading import Reading
from helpers.fakes.watching import Watching
from helpers.watch_client import HeldByClient

from core.errors import DatabaseUnavailableError, NotYetConsistentError, UserNotFoundError
from core.runtime.callers import CALLER
from core.runtime.tasks import running
from core.watch_errors import InvalidResumeTokenError
from read_service import watch_lanes, watches
from read_service.freshness import ANY, Freshness, TokenFreshness
from read_service.protocols import TweetPage
from read_service.watch_lanes import POSTGRES_READERS, ReadLanes
from read_service.watches import Watches

LIMIT = 5
SECONDS = 5.0

pytestmark = pytest.mark.usefixtures("short_windows")


class Server:
    """The watches of a read service on fake servers."""

    def __init__(self, reading: Reading, heartbeat_seconds: float) -> None:
        self.reading = reading
        watching = Watching(reading)
        self.index = watching.index
        lanes = ReadLanes(watching.reader)
        self.watches = Watches(
            reading.cache, reading.home, watching.index, lanes, heartbeat_seconds
        )

    @asynccontextmanager
    async def client(
        self, token: str = "", limit: int = LIMIT, freshness: Freshness = ANY, user: int = READER
    ) -> AsyncIterator[Client]:
        """Return a client that watches."""
        async with aclosing(self.watches.watch(user, limit, token, freshness)) as events:
            yield Client(events, limit)

    def expected(self, limit: int = LIMIT) -> list[tuple[int, str]]:
        """Return the ids and texts that a client must hold."""
        tweets = self.reading.primary.state.timeline(READER)[:limit]
        return [(tweet.id, tweet.content) for tweet in tweets]


class Client:
    """A client of a stream."""

    def __init__(self, events: AsyncGenerator[bytes, None], limit: int) -> None:
        self._events = events
        self.held = HeldByClient(limit)

    async def next(self) -> str:
        """Apply the next event, and return its kind."""
        async with asyncio.timeout(SECONDS):
            event = pb.WatchHomeTimelineResponse.FromString(await anext(self._events))
        self.held.apply(event)
        return event.WhichOneof("event") or ""

    async def until_heartbeat(self) -> list[str]:
        """Apply events up to the next heartbeat, and return the kinds of the others."""
        kinds = []
        while (kind := await self.next()) != "heartbeat":
            kinds.append(kind)
        return kinds

    async def until_ended(self) -> None:
        """Apply events until there is an error."""
        while True:
            await self.next()

    def shown(self) -> list[tuple[int, str]]:
        """Return ids and texts as the client shows them."""
        return [(tweet.id, tweet.content) for tweet in self.held.shown()]


@pytest.fixture
async def server(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """Return watches that have heartbeats often; the reader's timeline has seven tweets."""
    monkeypatch.setattr(watches, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(watch_lanes, "CHANGING_SECONDS", 0.0)
    monkeypatch.setattr(watch_lanes, "POLL_SECONDS", 0.01)
    reading.feed_of(AUTHOR, 7)
    reading.drain()
    server = Server(reading, heartbeat_seconds=60)
    async with running(server.watches.run()):
        yield server


async def test_the_first_page_comes_oldest_first_with_a_heartbeat(server: Server) -> None:
    """Then changes come as they are applied."""
    async with server.client() as client:
        assert await client.until_heartbeat() == ["tweet"] * LIMIT
        assert client.shown() == server.expected()
        new = server.reading.tweet(AUTHOR)
        server.reading.drain()
        assert await client.until_heartbeat() == ["removed_tweet_id", "tweet"]
        assert client.shown() == server.expected()
        server.reading.update(new, "other")
        server.reading.drain()
        assert await client.until_heartbeat() == ["tweet"]
        server.reading.delete(new)
        server.reading.drain()
        assert await client.until_heartbeat() == ["removed_tweet_id", "tweet"]
        server.reading.unfollow(READER, AUTHOR)
        server.reading.drain()
        assert await client.until_heartbeat() == ["removed_tweet_id"] * LIMIT
        assert client.shown() == server.expected() == []


async def test_an_empty_timeline_is_a_heartbeat(server: Server) -> None:
    """So that a client knows that there is nothing."""
    reader = server.reading.user()
    async with server.client(user=reader) as client:
        assert await client.until_heartbeat() == []


async def test_a_resumed_watch_gets_the_difference(server: Server) -> None:
    """With the token of any event, at any later time."""
    held = []
    async with server.client() as client:
        for _ in range(LIMIT + 1):
            held.append(client.held.copy())
            await client.next()
        held.append(client.held.copy())
    new = server.reading.feed_of(AUTHOR, 2)
    server.reading.delete(new[0])
    server.reading.drain()
    for before in held:
        async with server.client(before.token) as client:
            client.held = before.copy()
            kinds = await client.until_heartbeat()
            assert client.shown() == server.expected()
            assert len(kinds) <= LIMIT + 1
    async with server.client(held[-1].token) as client:
        assert await client.until_heartbeat() == ["removed_tweet_id", "tweet"]


async def test_a_client_that_lacks_more_than_a_page_is_reset(server: Server) -> None:
    """A reset and the page are fewer events than the removals and the tweets."""
    async with server.client() as client:
        await client.until_heartbeat()
        held = client.held
    server.reading.feed_of(AUTHOR, LIMIT)
    server.reading.drain()
    async with server.client(held.token) as client:
        client.held = held
        assert await client.until_heartbeat() == ["reset", *["tweet"] * LIMIT]
        assert client.shown() == server.expected()


async def test_another_limit_is_a_difference_too(server: Server) -> None:
    """A token holds what the client holds, and not how much it asked for."""
    async with server.client() as client:
        await client.until_heartbeat()
        held = client.held
    async with server.client(held.token, limit=3) as client:
        client.held = held
        client.held.limit = 3
        assert await client.until_heartbeat() == ["removed_tweet_id"] * 2
        assert client.shown() == server.expected(3)


async def test_a_slow_client_gets_the_latest_state_only(server: Server) -> None:
    """What came and went while it did not read is never sent."""
    async with server.client() as client:
        await client.until_heartbeat()
        for number in range(20):
            new = server.reading.tweet(AUTHOR, f"number {number}")
            server.reading.drain()
            await asyncio.sleep(0)
            server.reading.delete(new)
            server.reading.drain()
        server.reading.tweet(AUTHOR, "the last")
        server.reading.drain()
        kinds = []
        while client.shown() != server.expected():
            kinds.append(await client.next())
        assert len(kinds) < 12, kinds


async def test_clients_of_one_page_share_its_reads(server: Server) -> None:
    """And one that comes later gets the page, too."""
    async with server.client() as one, server.client() as other:
        await one.until_heartbeat()
        await other.until_heartbeat()
        async with server.client() as third:
            assert await third.until_heartbeat() == ["tweet"] * LIMIT
        for client in (one, other):
            assert client.shown() == server.expected()
        server.reading.steps.taken.clear()
        server.reading.tweet(AUTHOR)
        server.reading.drain()
        for client in (one, other):
            await client.until_heartbeat()
            assert client.shown() == server.expected()
        assert server.reading.steps.taken.count("read lists") == 2  # tracked, and read


async def test_without_redis_pages_are_read_again_and_again(server: Server) -> None:
    """A change shows after a while, and again at once when Redis is back."""
    async with server.client() as client:
        await client.until_heartbeat()
        server.reading.redis.is_up = False
        server.reading.redis.disconnect()
        server.reading.tweet(AUTHOR)
        assert await client.until_heartbeat() == ["removed_tweet_id", "tweet"]
        assert client.shown() == server.expected()
        server.reading.redis.is_up = True
        server.reading.drain()
        server.reading.tweet(AUTHOR)
        server.reading.drain()
        assert await client.until_heartbeat() == ["removed_tweet_id", "tweet"]
        assert client.shown() == server.expected()


async def test_without_redis_few_pages_are_read_at_a_time(server: Server) -> None:
    """So many watches do not keep Postgres from other callers, and each is its caller's work."""
    reading = server.reading
    readers = [reading.reader_of(AUTHOR) for _ in range(12)]
    reading.drain()
    reading.redis.is_up = False
    under_way, most = 0, 0
    callers = set()
    read = reading.home.page

    async def page(*asked: Any) -> TweetPage:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        callers.add(CALLER.get())
        await asyncio.sleep(0.005)
        under_way -= 1
        return await read(*asked)

    async def watch(user: int) -> None:
        async with server.client(user=user) as client:
            await client.until_heartbeat()
            assert client.shown()

    reading.home.page = page  # type: ignore[assignment]
    CALLER.set(("address", "7"))
    await asyncio.gather(*map(watch, readers))
    assert most == POSTGRES_READERS
    assert callers == {("address", "7")}


async def test_an_unexpected_failure_ends_only_the_watch_that_waits_for_its_first_page(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and later reads go on."""
    async with server.client() as client:
        await client.until_heartbeat()
        with monkeypatch.context() as patch:
            patch.setattr(server.reading.first, "pages", None)
            with pytest.raises(TypeError):
                async with server.client(limit=3) as other:
                    await other.next()
        assert "reading a watched page failed" in caplog.text
        server.reading.tweet(AUTHOR)
        server.reading.drain()
        assert await client.until_heartbeat() == ["removed_tweet_id", "tweet"]


async def test_with_nothing_up_a_client_keeps_what_it_has(server: Server) -> None:
    """There is no heartbeat then; a new client gets an error."""
    async with server.client() as client:
        await client.until_heartbeat()
        server.reading.redis.is_up = server.reading.primary.is_up = False
        server.reading.redis.disconnect()
        with pytest.raises(DatabaseUnavailableError):
            async with server.client() as other:
                await other.next()
        server.reading.redis.is_up = server.reading.primary.is_up = True
        server.reading.tweet(AUTHOR)
        server.reading.drain()
        assert await client.until_heartbeat() == ["removed_tweet_id", "tweet"]
        assert client.shown() == server.expected()


@pytest.mark.parametrize("is_up", [True, False])
async def test_heartbeats(
    reading: Reading, monkeypatch: pytest.MonkeyPatch, *, is_up: bool
) -> None:
    """They come in the interval, after barriers or, without Redis, after reads of Postgres."""
    monkeypatch.setattr(watches, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(watch_lanes, "POLL_SECONDS", 0.01)
    reading.feed_of(AUTHOR, LENGTH)
    reading.drain()
    reading.redis.is_up = is_up
    server = Server(reading, heartbeat_seconds=0.05)
    async with running(server.watches.run()), server.client() as client:
        for _ in range(3):  # meanwhile the list is built, touched and read again
            await client.until_heartbeat()
        reading.steps.taken.clear()
        for _ in range(3):
            assert await client.until_heartbeat() == []
        if is_up:
            assert set(reading.steps.taken) == {"barrier"}


async def test_no_heartbeat_unless_the_page_was_right_a_second_ago(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was slow to take its events gets the heartbeat after the next barrier."""
    monkeypatch.setattr(watches, "RIGHT_SECONDS", -1.0)
    async with server.client() as client:
        for _ in range(LIMIT):
            assert await client.next() == "tweet"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.next()


async def test_the_first_state_shows_what_a_consistency_token_requires(server: Server) -> None:
    """Though its event has not been applied; nothing vanishes until it has."""
    new = server.reading.tweet(AUTHOR, "mine")
    freshness = TokenFreshness(server.reading.primary.moment())
    async with server.client(freshness=freshness) as client:
        for _ in range(LIMIT):
            assert await client.next() == "tweet"
        assert client.shown()[0] == (new, "mine")
        server.reading.drain()
        assert await client.until_heartbeat() == []
        assert client.shown() == server.expected()


async def test_a_consistency_token_that_no_server_has_reached(server: Server) -> None:
    """It is an error, as with GetHomeTimeline."""
    server.reading.primary.is_up = False
    freshness = TokenFreshness(server.reading.primary.moment())
    with pytest.raises(NotYetConsistentError):
        async with server.client(freshness=freshness) as client:
            await client.next()


async def test_a_user_who_does_not_exist(server: Server) -> None:
    """Nor does one whose user was deleted while the watch was open."""
    with pytest.raises(UserNotFoundError):
        async with server.client(user=999) as client:
            await client.next()
    async with server.client() as client:
        await client.until_heartbeat()
        server.reading.primary.state.users.remove(READER)
        server.reading.primary.state.follows.clear()
        server.reading.unfollow(READER, AUTHOR)
        server.reading.drain()
        with pytest.raises(UserNotFoundError):
            await client.until_ended()


async def test_a_token_that_is_none(server: Server) -> None:
    """It is refused before anything is read."""
    with pytest.raises(InvalidResumeTokenError):
        async with server.client("x") as client:
            await client.next()
    assert server.reading.steps.taken == []


async def test_nothing_is_left_of_a_watch_that_has_ended(server: Server) -> None:
    """No page, and nothing that is told of changes."""
    async with server.client() as client:
        await client.next()
    assert server.watches._pages == {}
    assert not server.index._pages
