"""Home timelines: which pages come from Redis, which from Postgres, and that all are exact."""

from __future__ import annotations

import pytest
from helpers.fakes.home_pages import AUTHOR, LENGTH, LIST, READER, read_page, warm
from helpers.fakes.reading import Reading

from core.errors import ConsistencyTokenLostError, DatabaseUnavailableError, UserNotFoundError
from core.feed.history import Lsn, Moment
from core.feed.timeline_lists import author_list, home_list
from core.runtime.metrics import METRICS, Metric
from read_service.freshness import ANY, TokenFreshness
from read_service.home_timelines import MAX_MERGED, MIN_REFILL
from read_service.list_building import ListNotReadyError
from read_service.lists import MAX_TRIES
from read_service.pages import FROM_THE_TOP

pytestmark = pytest.mark.usefixtures("short_windows")


async def test_an_absent_list_is_built(reading: Reading) -> None:
    """The first reader builds the list, and its pages come from it."""
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    assert await read_page(reading, 3) == ids[:3]
    assert reading.elements(LIST) == [b"=", *(b"%d" % id_ for id_ in ids), b"0"]
    assert "primary: home timeline" not in reading.steps.taken


@pytest.mark.parametrize("limit", [1, 3, LENGTH])
async def test_pages_go_on_below_the_list(reading: Reading, limit: int) -> None:
    """Page after page, a reader gets to the oldest tweet, first in the list, then in Postgres."""
    ids = reading.feed_of(AUTHOR, 2 * LENGTH + 1)
    reading.drain()
    found: list[int] = []
    while page := await read_page(reading, limit, before=found[-1] if found else FROM_THE_TOP):
        found += page
    assert found == ids
    assert len(reading.elements(LIST)) == LENGTH + 1


@pytest.mark.parametrize("offset", [0, 1, 5, LENGTH - 2, LENGTH, 25])
async def test_an_offset_skips_tweets(reading: Reading, offset: int) -> None:
    """An offset works inside the list and below it."""
    ids = reading.feed_of(AUTHOR, 2 * LENGTH)
    reading.drain()
    await warm(reading)
    assert await read_page(reading, 2, offset=offset) == ids[offset : offset + 2]
    assert reading.steps_of("primary: home") == (
        [] if offset + 2 <= LENGTH else ["primary: home timeline"]
    )


async def test_a_page_below_the_list_is_as_new_as_the_list() -> None:
    """A replica that lags does not serve such a page, unless the primary is down."""
    reading = Reading(length=LENGTH, has_replica=True)
    reading.reader_of(reading.user())
    ids = reading.feed_of(AUTHOR, LENGTH + 2)
    reading.replica.replay(reading.primary)
    reading.delete(ids[-1])
    reading.drain()
    page = await reading.home.page(READER, ids[-2] + 1, 0, 5, ANY)
    assert page.ids == [ids[-2]]
    reading.primary.is_up = False
    page = await reading.home.page(READER, ids[-2] + 1, 0, 5, ANY)
    assert page.ids == ids[-2:]  # old is better than nothing


async def test_a_pushed_tweet_shows_without_another_build(reading: Reading) -> None:
    """The tweet is in the log of the list, and shows once even if it was pushed twice."""
    ids = reading.feed_of(AUTHOR, 2)
    reading.drain()
    await warm(reading)
    new = reading.tweet(AUTHOR)
    reading.drain()
    reading.redis.push(LIST, new)
    assert await read_page(reading, 3) == [new, *ids]
    assert METRICS.take()[Metric.DUPLICATE_DROPPED] == 1
    assert reading.steps_of("primary") == []


async def test_a_long_log_is_compacted(reading: Reading) -> None:
    """A log that fills the window is sorted into the base, and the page is read with it."""
    reading.feed_of(AUTHOR, 2)
    reading.drain()
    await warm(reading)
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    reading.steps.taken.clear()
    assert await read_page(reading, 2) == ids[:2]
    assert reading.elements(LIST)[0] == b"="
    assert reading.steps_of("primary") == []
    # The list is neither looked at again before it is compacted, nor read in a step of its own.
    assert reading.steps.taken.count("read lists") == 1
    assert reading.steps.taken.count("compact") == 1


async def test_a_list_without_a_base_is_built_again(reading: Reading) -> None:
    """Trimming can cut off the whole base of an unread list; such a list is removed and rebuilt."""
    await warm(reading)
    ids = reading.feed_of(AUTHOR, 2 * LENGTH)
    reading.drain()
    assert len(reading.elements(LIST)) == LENGTH + 5
    assert await read_page(reading, LENGTH) == ids[:LENGTH]
    assert len(reading.elements(LIST)) == LENGTH + 1


async def test_deleted_tweets_are_replaced_by_older_ones(reading: Reading) -> None:
    """A page is as full as it can be, though the list still has the ids of deleted tweets."""
    ids = reading.feed_of(AUTHOR, LENGTH - 2)
    reading.drain()
    await warm(reading)
    for id_ in ids[:3]:
        reading.delete(id_)
    reading.drain()
    METRICS.take()
    assert await read_page(reading, 2) == ids[3:5]
    assert METRICS.take()[Metric.PAGE_REFILLED] > 0
    assert await read_page(reading, LENGTH) == ids[3:]


async def test_a_page_that_deletions_empty_comes_from_below_the_list(reading: Reading) -> None:
    """If all remaining tweets of an incomplete list were deleted, the page is in Postgres."""
    ids = reading.feed_of(AUTHOR, LENGTH + 3)
    reading.drain()
    await warm(reading)
    for id_ in ids[:LENGTH]:
        reading.delete(id_)
    reading.drain()
    assert await read_page(reading, 2) == ids[LENGTH : LENGTH + 2]


async def test_many_tweets_are_read_at_once_to_refill_a_page() -> None:
    """A list with many deleted tweets does not cost a round trip for each of them."""
    reading = Reading(length=2 * MIN_REFILL)
    reading.reader_of(reading.user())
    ids = reading.feed_of(AUTHOR, MIN_REFILL + 1)
    reading.drain()
    await read_page(reading, 1)
    for id_ in ids[:-1]:
        reading.delete(id_)
    reading.drain()
    reading.steps.taken.clear()
    assert await read_page(reading, 1) == ids[-1:]
    # One by the fast path, one by the general path, and one for the refill.
    assert reading.steps.taken.count("read tweets") <= 3


async def test_pull_authors_are_merged(reading: Reading) -> None:
    """Their own lists are merged with the reader's, and a tweet in both shows once."""
    pulled = reading.user()
    reading.follow(READER, pulled)
    both = reading.tweet(pulled)
    reading.pull(pulled)
    ids = [reading.tweet(author) for author in (pulled, AUTHOR, pulled)]
    reading.drain()
    expected = [*reversed(ids), both]
    assert await read_page(reading, 5) == expected
    new = reading.tweet(pulled)
    reading.drain()
    assert b"%d" % new not in reading.elements(LIST)
    assert b"%d" % new in reading.elements(author_list(pulled))
    assert await read_page(reading, 5) == [new, *expected]
    assert METRICS.take()[Metric.PULLED_MERGED] >= 2


async def test_a_merge_ends_at_the_highest_floor(reading: Reading) -> None:
    """Postgres serves what is below the end of any list, even if another list reaches further."""
    pulled = reading.user()
    reading.follow(READER, pulled)
    reading.pull(pulled)
    old = reading.feed_of(AUTHOR, 3)
    reading.drain()
    await read_page(reading, 1)  # builds a list that is complete
    many = reading.feed_of(pulled, LENGTH + 2)
    reading.drain()
    found: list[int] = []
    while page := await read_page(reading, 4, before=found[-1] if found else FROM_THE_TOP):
        found += page
    assert found == [*many, *old]


async def test_postgres_merges_too_many_pull_authors(reading: Reading) -> None:
    """A read of too many lists of pull authors is left to Postgres, which merges them faster."""
    authors = range(10, 10 + MAX_MERGED // 3 + 1)
    reading.redis.put_list(LIST, b"=" + b",".join(b"%d" % author for author in authors), b"0")
    assert await read_page(reading, 1) == []
    assert reading.steps_of("primary: home") == ["primary: home timeline"]
    assert reading.redis.touched == []


async def test_a_list_that_others_build_is_served_by_postgres(reading: Reading) -> None:
    """A reader does not wait for another one's build."""
    ids = reading.feed_of(AUTHOR, 2)
    reading.drain()
    reading.redis.put_list(LIST, b"=", b"B1800000000-other")
    assert await read_page(reading, 2) == ids
    assert reading.elements(LIST) == [b"=", b"B1800000000-other"]


async def test_a_list_that_keeps_changing_is_served_by_postgres(reading: Reading) -> None:
    """After some tries a reader gives up, rather than compacting for ever."""
    reading.tweet(AUTHOR)
    reading.drain()

    def trim_the_base_away() -> None:
        reading.redis.put_list(LIST, b"9")

    for _ in range(MAX_TRIES + 1):
        reading.steps.before("read lists", trim_the_base_away)
    assert await read_page(reading, 1) == reading.oracle(READER)
    assert reading.steps.taken.count("compact") == MAX_TRIES
    for _ in range(MAX_TRIES):
        reading.steps.before("read lists", trim_the_base_away)
    with pytest.raises(ListNotReadyError):
        await reading.lists.windows([LIST], None)


@pytest.mark.parametrize("failure", ["down", "other history"])
async def test_an_old_page_is_better_than_none(failure: str) -> None:
    """A replica that lags answers while the primary is down, or at another history than Redis."""
    reading = Reading(length=LENGTH, has_replica=True)
    reader = reading.reader_of(reading.user())
    reading.replica.replay(reading.primary)
    new = reading.tweet(1)
    reading.drain()
    reading.redis.put_list(home_list(reader), b"=", b"B1800000000-other")
    read = reading.home.page(reader, FROM_THE_TOP, 0, 1, ANY)
    assert (await read).ids == [new]
    if failure == "down":
        reading.primary.is_up = False
    else:
        reading.primary.begin_history("bbbbbbbbbb")
    assert (await reading.home.page(reader, FROM_THE_TOP, 0, 1, ANY)).ids == []


async def test_postgres_answers_while_redis_is_down(reading: Reading) -> None:
    """Redis may be down from the start, or go down in the middle of a read."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()

    def go_down() -> None:
        reading.redis.is_up = False

    for step in ("read lists", "begin build", "read checkpoints", "finish build", "read tweets"):
        reading.redis.flush()
        for shard in range(16):
            reading.redis.set_applied(shard, reading.primary.state.lsn)
        reading.redis.is_up = True
        reading.steps.before(step, go_down)
        assert await read_page(reading, 3) == ids
        assert not reading.redis.is_up


async def test_redis_answers_while_postgres_is_down(reading: Reading) -> None:
    """A warm list and its tweets need no Postgres; what is below them does."""
    ids = reading.feed_of(AUTHOR, LENGTH + 1)
    reading.drain()
    await warm(reading)
    reading.primary.is_up = False
    assert await read_page(reading, 3) == ids[:3]
    assert await read_page(reading, 3, before=ids[2]) == ids[3:6]
    with pytest.raises(DatabaseUnavailableError):
        await read_page(reading, 3, before=ids[-2])


async def test_another_history_in_postgres_is_not_built_from(reading: Reading) -> None:
    """While Redis is at the former history, the page comes from Postgres without a requirement."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    reading.primary.begin_history("bbbbbbbbbb")
    assert await read_page(reading, 3) == ids
    assert reading.elements(LIST) == []


async def test_an_unknown_user_is_not_found(reading: Reading) -> None:
    """This holds in any state of Redis, and with a consistency token."""
    token = TokenFreshness(reading.primary.moment())
    for is_up in (True, False):
        reading.redis.is_up = is_up
        for freshness in (ANY, token):
            with pytest.raises(UserNotFoundError):
                await reading.home.page(99, FROM_THE_TOP, 0, 1, freshness)
    assert (await reading.home.page(AUTHOR, FROM_THE_TOP, 0, 1, ANY)).ids == []


async def test_a_token_is_answered_by_postgres_alone(reading: Reading) -> None:
    """A tweet that is not applied yet shows; a token of an unknown history is refused."""
    reading.tweet(AUTHOR)
    reading.drain()
    await warm(reading)
    new = reading.tweet(AUTHOR)
    token = TokenFreshness(reading.primary.moment())
    assert (await read_page(reading, 1, freshness=token)) == [new]
    assert reading.steps.taken == ["primary: home timeline"]
    lost = TokenFreshness(Moment("bbbbbbbbbb", Lsn(1)))
    with pytest.raises(ConsistencyTokenLostError):
        await read_page(reading, 1, freshness=lost)
