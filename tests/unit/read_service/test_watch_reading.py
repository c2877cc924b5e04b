"""Watched pages: each later change of them is reported, whatever happened while they were read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from helpers.fakes.home_pages import AUTHOR, LENGTH, LIST, READER, read_page
from helpers.fakes.reading import Reading
from helpers.fakes.watching import Watching

from core.errors import DatabaseUnavailableError, UserNotFoundError
from read_service.held_tweets import NOTHING
from read_service.watch_lanes import ReadLanes
from read_service.watch_reading import MAX_IN_VAIN
from read_service.watched_pages import WatchedPage

pytestmark = pytest.mark.usefixtures("short_windows")
LIMIT = 3


@pytest.fixture
def watching(reading: Reading) -> Watching:
    """Return watched pages; the reader's timeline has four tweets."""
    reading.feed_of(AUTHOR, 4)
    reading.drain()
    return Watching(reading)


async def followed(watching: Watching) -> WatchedPage:
    """Return the reader's page, whose changes are reported."""
    page = watching.page(READER, LIMIT)
    await watching.follow(page)
    assert page.newest == watching.expected(page)
    watching.due.clear()
    watching.reading.steps.taken.clear()
    return page


async def test_a_page_is_followed_after_some_reads(watching: Watching) -> None:
    """The list is built, touched and read; then nothing is to be read until something changes."""
    page = await followed(watching)
    assert watching.due == []
    assert page.shown_at == page.read_at


async def test_a_page_that_is_being_read_is_not_followed(watching: Watching) -> None:
    """What is known of it may be old, so no heartbeat may be sent."""
    page = await followed(watching)
    for step in ("read lists", "barrier"):
        watching.reading.steps.before(step, lambda: read_of.append(page.is_followed))
    read_of: list[bool] = []
    watching.reading.tweet(AUTHOR)
    watching.reading.drain()
    await watching.follow(page)
    assert read_of
    assert not any(read_of)


CHANGES: dict[str, Callable[[Reading], object]] = {
    "a new tweet": lambda reading: reading.tweet(AUTHOR),
    "an edit": lambda reading: reading.update(reading.oracle(READER)[1], "other"),
    "a deletion": lambda reading: reading.delete(reading.oracle(READER)[1]),
    "an unfollow": lambda reading: reading.unfollow(READER, AUTHOR),
    "a follow": lambda reading: reading.follow(READER, reading.user()),
    "a pull author": lambda reading: reading.pull(AUTHOR),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_of_a_followed_page_is_reported(watching: Watching, change: str) -> None:
    """The page is read again, and shows the change."""
    page = await followed(watching)
    CHANGES[change](watching.reading)
    assert watching.due == []
    watching.reading.drain()
    assert watching.due[:1] == [page]
    await watching.follow(page)
    assert page.newest == watching.expected(page)


STEPS = ("read lists", "read tweets", "touch")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("change", CHANGES)
async def test_no_change_while_a_page_is_read_is_missed(
    watching: Watching, change: str, step: str, number: int
) -> None:
    """Whichever step of the reads it comes before, the page shows it or is to be read again."""
    page = watching.page(READER, LIMIT)

    def interfere() -> None:
        CHANGES[change](watching.reading)
        watching.reading.drain()

    for _ in range(number):
        watching.reading.steps.before(step, lambda: None)
    watching.reading.steps.before(step, interfere)
    await watching.follow(page)
    assert page.newest == watching.expected(page)


async def test_changes_of_the_lists_of_pull_authors_are_reported(watching: Watching) -> None:
    """A page that was merged depends on these lists, too."""
    reading = watching.reading
    reading.pull(AUTHOR)
    reading.tweet(AUTHOR)
    reading.drain()
    page = await followed(watching)
    assert page.authors == (AUTHOR,)
    reading.tweet(AUTHOR)
    reading.drain()
    assert watching.due[:1] == [page]
    await watching.follow(page)
    assert page.newest == watching.expected(page)


async def test_a_page_that_another_list_has_got_into_is_read_again(watching: Watching) -> None:
    """Another reader has built the list, which names a pull author now."""
    page = await followed(watching)
    reading = watching.reading
    reading.pull(AUTHOR)
    reading.drain()
    for _ in range(2):
        await read_page(reading, LIMIT)
    await watching.read(page)
    assert not page.is_followed
    await watching.follow(page)
    watching.due.clear()
    reading.tweet(AUTHOR)
    reading.drain()
    assert watching.due[:1] == [page]


async def test_a_tweet_that_changes_before_it_is_listened_to(watching: Watching) -> None:
    """It was read, but the page has not learnt of it yet, and nobody was told of its change."""
    page = await followed(watching)
    reading = watching.reading
    reading.delete(page.newest.ids[0])  # so that the page is not read by the fast path
    reading.drain()
    await watching.follow(page)
    reading.local.forget(None)
    new = reading.tweet(AUTHOR)
    reading.drain()
    read = reading.tweet_cache.read
    texts = ["changed"]

    async def read_late(ids: Sequence[int]) -> Sequence[bytes | None]:
        values = await read(ids)
        if new in ids and page.newest.ids[0] != new:
            texts.append("changed again")
            reading.update(new, " and ".join(texts))
            reading.drain()
        return values

    reading.tweet_cache.read = read_late  # type: ignore[method-assign]
    await watching.follow(page)
    assert page.newest == watching.expected(page)


async def test_a_page_with_a_deleted_tweet_is_followed(watching: Watching) -> None:
    """Its id stays in the list, so that the fast path does not give the page."""
    page = await followed(watching)
    reading = watching.reading
    reading.delete(page.newest.ids[0])
    reading.drain()
    await watching.follow(page)
    assert page.newest == watching.expected(page)
    watching.due.clear()
    reading.update(page.newest.ids[-1], "other")
    reading.drain()
    assert watching.due == [page]


async def test_a_lost_connection_makes_all_pages_stale(watching: Watching) -> None:
    """Redis reports nothing that was tracked on another connection."""
    page = await followed(watching)
    watching.reading.redis.disconnect()
    assert watching.due == [page]
    assert not page.is_followed
    await watching.follow(page)
    watching.reading.redis.flush()
    assert not page.is_followed


async def test_without_redis_the_primary_is_read() -> None:
    """A replica could lack a deletion that the client has seen. Nothing is reported then."""
    reading = Reading(length=LENGTH, slack=5, has_replica=True)
    reading.reader_of(reading.user())
    reading.feed_of(AUTHOR, 4)
    reading.drain()
    reading.replica.replay(reading.primary)
    watching = Watching(reading)
    page = await followed(watching)
    reading.redis.is_up = False
    reading.delete(page.newest.ids[0])
    before = page.shown_at
    await watching.read(page)
    assert page.newest == watching.expected(page)
    assert not page.is_followed
    assert page.shown_at > before


async def test_a_replica_that_lags_does_not_bring_a_removed_tweet_back() -> None:
    """Redis has given the lists, and fails before it gives the tweets."""
    reading = Reading(length=LENGTH, slack=5, has_replica=True)
    reading.reader_of(reading.user())
    reading.feed_of(AUTHOR, 4)
    reading.pull(AUTHOR)  # so that the page is not read by the fast path
    reading.drain()
    reading.replica.replay(reading.primary)
    watching = Watching(reading)
    page = await followed(watching)
    reading.delete(page.newest.ids[0])
    reading.drain()
    await watching.follow(page)
    reading.redis.disconnect()

    def fail() -> None:
        reading.redis.is_up = False

    reading.steps.before("read tweets", fail)
    for _ in range(2):
        await watching.read(page)
        assert page.newest == watching.expected(page)
    assert not reading.redis.is_up


async def test_a_page_that_cannot_be_tracked_comes_from_postgres(watching: Watching) -> None:
    """Nothing is shown before, and it is read again after a while."""
    watching.reading.local._limit = 0  # no tweet stays in the local tweet cache
    page = watching.page(READER, LIMIT)
    for _ in range(MAX_IN_VAIN + 1):
        assert page.shown_at == -math.inf
        await watching.read(page)
        assert not page.is_followed
    assert watching.reading.steps.taken[-1] == "primary: home timeline"
    assert page.newest == watching.expected(page)


async def test_a_read_that_failed_is_not_repeated_at_once(watching: Watching) -> None:
    """Not even if reads before it were to be repeated."""
    watching.reading.local._limit = 0
    page = watching.page(READER, LIMIT)
    await watching.read(page)
    lanes = ReadLanes(watching.reader, clock=lambda: 1.0)
    lanes.put(page)
    assert lanes._fast.qsize() == 1
    page.note_failure(DatabaseUnavailableError(), 1.0)
    lanes.put(page)
    assert lanes._fast.qsize() == 1


async def test_a_user_who_does_not_exist(watching: Watching) -> None:
    """With Redis and without."""
    page = watching.page(999, LIMIT)
    with pytest.raises(UserNotFoundError):
        await watching.read(page)
    watching.reading.redis.is_up = False
    with pytest.raises(UserNotFoundError):
        await watching.read(page)
    watching.reading.primary.is_up = False
    with pytest.raises(DatabaseUnavailableError):
        await watching.read(page)


async def test_a_page_that_nobody_watches_any_more_leaves_nothing(watching: Watching) -> None:
    """Even if it is being read at that moment."""
    page = await followed(watching)
    page.watchers.clear()
    watching.index.remove(page)
    await watching.read(page)
    assert page.newest == NOTHING
    for dependents in watching.index._by_kind.values():
        assert dependents._pages == {}
    watching.reading.tweet(AUTHOR)
    watching.reading.drain()
    assert watching.due == []


async def test_pages_of_one_user_are_both_told(watching: Watching) -> None:
    """They have different limits, and the same list and tweets."""
    pages = [watching.page(READER, limit) for limit in (2, 3)]
    for page in pages:
        await watching.follow(page)
    watching.due.clear()
    watching.reading.update(pages[0].newest.ids[0], "other")
    watching.reading.drain()
    assert set(watching.due) == set(pages)
    watching.index.remove(pages[0])
    await watching.follow(pages[1])
    watching.due.clear()
    watching.reading.redis.drop(LIST)
    assert watching.due == [pages[1]]
