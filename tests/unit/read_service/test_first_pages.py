"""First pages: what is asked of Redis for them, and when a page that is kept may be used."""

from __future__ import annotations

import pytest
from helpers.fakes.home_pages import AUTHOR, LENGTH, LIST, READER, read_page, settle, warm
from helpers.fakes.reading import Reading

from core.errors import UserNotFoundError
from read_service.freshness import ANY, TokenFreshness
from read_service.protocols import TweetPage

pytestmark = pytest.mark.usefixtures("short_windows")


async def test_a_warm_first_page_takes_one_look_at_redis(reading: Reading) -> None:
    """The list is read, its TTL is extended, and nothing else is asked."""
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    await read_page(reading, LENGTH)
    reading.steps.taken.clear()
    assert await read_page(reading, 3) == ids[:3]
    assert reading.steps.taken == ["read lists", "touch"]
    assert LIST in reading.redis.touched


async def test_a_page_that_is_kept_costs_a_barrier(reading: Reading) -> None:
    """This holds for single reads and for batches, as long as nothing changes."""
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    await settle(reading)
    for _ in range(2):
        assert await read_page(reading, 3) == ids[:3]
    (page,) = await reading.home.first_pages([READER], 3, ANY)
    assert isinstance(page, TweetPage)
    assert page.ids == ids[:3]
    assert reading.steps.taken == ["barrier"] * 3
    assert await read_page(reading, 4) == ids[:4]
    assert "read lists" in reading.steps.taken  # a longer page is not kept


async def test_a_change_before_the_barrier_shows(reading: Reading) -> None:
    """What Redis reports before its reply to the barrier is in the page."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    await settle(reading)
    new = reading.tweet(AUTHOR)
    reading.steps.before("barrier", reading.drain)
    assert await read_page(reading, 3) == [new, *ids[:2]]
    await settle(reading)
    reading.update(new, "another text")
    reading.steps.before("barrier", reading.drain)
    assert await read_page(reading, 3) == [new, *ids[:2]]
    await settle(reading)
    reading.delete(new)
    reading.steps.before("barrier", reading.drain)
    assert await read_page(reading, 3) == ids
    reading.unfollow(READER, AUTHOR)
    reading.drain()
    assert await read_page(reading, 3) == []


async def test_a_list_that_is_read_locally_is_touched(reading: Reading) -> None:
    """When touches are due again, the list is read in Redis and touched, and then kept again."""
    reading.feed_of(AUTHOR, 3)
    reading.drain()
    await settle(reading)
    reading.redis.touched.clear()
    await read_page(reading, 3)
    assert reading.redis.touched == []
    reading.redis.touch_period += 1
    await read_page(reading, 3)
    assert reading.redis.touched == [LIST]
    await read_page(reading, 3)
    reading.steps.taken.clear()
    await read_page(reading, 3)
    assert reading.steps.taken == ["barrier"]


async def test_a_mixed_batch_takes_one_look_at_redis(reading: Reading) -> None:
    """The reply with the lists that are not kept is the barrier for those that are."""
    ids = reading.feed_of(AUTHOR, 3)
    other = reading.reader_of(AUTHOR)
    reading.drain()
    await reading.home.first_pages([other], LENGTH, ANY)
    await settle(reading)
    pages = await reading.home.first_pages([READER, other], 3, ANY)
    assert [page.ids for page in pages if isinstance(page, TweetPage)] == [ids, ids]
    assert reading.steps.taken == ["read lists", "touch"]


@pytest.mark.parametrize("is_batch", [False, True])
async def test_an_absent_list_is_looked_for_once(reading: Reading, *, is_batch: bool) -> None:
    """What the fast path has found absent is built without another look."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    reading.steps.taken.clear()
    if is_batch:
        (page,) = await reading.home.first_pages([READER], 3, ANY)
        assert isinstance(page, TweetPage)
        assert page.ids == ids
    else:
        assert await read_page(reading, 3) == ids
    assert [step for step in reading.steps.taken if step != "touch"] == [
        "read lists",
        *["begin build", "read checkpoints", "primary: newest ids", "finish build"],
        "read tweets",
    ]


async def test_a_list_that_was_built_meanwhile_is_not_built_again(reading: Reading) -> None:
    """The list that was absent a moment ago is another reader's now; Postgres has the page."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    reading.steps.before("begin build", lambda: reading.redis.put_list(LIST, b"=", b"0"))
    assert await read_page(reading, 3) == ids


async def test_postgres_answers_if_the_barrier_fails(reading: Reading) -> None:
    """A page that is kept is not used while Redis does not answer."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    await settle(reading)
    reading.redis.is_up = False
    assert await read_page(reading, 3) == ids
    (page,) = await reading.home.first_pages([READER], 3, ANY)
    assert isinstance(page, TweetPage)
    assert page.ids == ids
    assert reading.steps_of("primary: home") == ["primary: home timeline"] * 2


async def test_a_first_page_reads_its_tweets_at_once(reading: Reading) -> None:
    """Tweets that are only in Redis cost one more round trip, even for several timelines."""
    ids = reading.feed_of(AUTHOR, 5)
    other = reading.reader_of(AUTHOR)
    reading.drain()
    await reading.home.first_pages([READER, other], LENGTH, ANY)
    reading.local.forget(None)
    reading.steps.taken.clear()
    assert await read_page(reading, 3) == ids[:3]
    assert reading.steps.taken == ["read lists", "touch", "read tweets"]
    reading.local.forget(None)
    reading.steps.taken.clear()
    await reading.home.first_pages([READER, other], LENGTH, ANY)
    assert reading.steps.taken == ["read lists", "touch", "read tweets"]


async def test_first_pages_answer_each_user_alone(reading: Reading) -> None:
    """Warm and absent lists give pages, and an unknown user gives an error."""
    ids = reading.feed_of(AUTHOR, 3)
    cold = reading.reader_of(AUTHOR)
    reading.drain()
    await warm(reading)
    known, unknown, built = await reading.home.first_pages([READER, 99, cold], 2, ANY)
    assert isinstance(known, TweetPage)
    assert isinstance(built, TweetPage)
    assert (known.ids, built.ids) == (ids[:2], ids[:2])
    assert isinstance(unknown, UserNotFoundError)
    assert await reading.home.first_pages([], 2, ANY) == []


async def test_first_pages_honour_a_token(reading: Reading) -> None:
    """No timeline of a batch comes from Redis if the batch has a consistency token."""
    reading.drain()
    await warm(reading)
    new = reading.tweet(AUTHOR)
    token = TokenFreshness(reading.primary.moment())
    (page,) = await reading.home.first_pages([READER], 2, token)
    assert isinstance(page, TweetPage)
    assert page.ids == [new]
