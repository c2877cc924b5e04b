"""Home timelines: which pages come from Redis, which from Postgres, and that all are exact."""

from __future__ import annotations

import pytest
from helpers.fakes.reading import Reading, content, message

from core.errors import ConsistencyTokenLostError, DatabaseUnavailableError, UserNotFoundError
from core.feed.history import Lsn, Moment
from core.feed.timeline_lists import author_list, home_list
from core.runtime.metrics import METRICS, Metric
from read_service import lists
from read_service.freshness import ANY, Freshness, TokenFreshness
from read_service.home_timelines import MAX_MERGED, MIN_REFILL
from read_service.list_building import ListNotReadyError
from read_service.lists import MAX_TRIES
from read_service.pages import FROM_THE_TOP
from read_service.protocols import TweetPage

LENGTH = 10


@pytest.fixture(autouse=True)
def _short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first window only slightly longer than the page, and reset the metrics."""
    monkeypatch.setattr(lists, "LOG_ROOM", 2)
    METRICS.take()


@pytest.fixture
def reading() -> Reading:
    """Return a read service with an author (user 1) and a reader (user 2) whose list is absent."""
    reading = Reading(length=LENGTH, slack=5)
    reading.reader_of(reading.user())
    reading.drain()
    return reading


AUTHOR, READER = 1, 2
LIST = home_list(READER)


async def _page(
    reading: Reading,
    limit: int,
    *,
    before: int = FROM_THE_TOP,
    offset: int = 0,
    freshness: Freshness = ANY,
) -> list[int]:
    page = await reading.home.page(READER, before, offset, limit, freshness)
    tweets = reading.primary.state.tweets
    assert content(page) == [message(tweets[id_]) for id_ in page.ids if id_ in tweets]
    return list(page.ids)


async def _warm(reading: Reading) -> None:
    """Read a page, so that the list is built and the tweets are in the local tweet cache."""
    await _page(reading, LENGTH)
    await _page(reading, LENGTH)
    reading.steps.taken.clear()


async def _settle(reading: Reading, limit: int = 3) -> None:
    """Read pages until the timeline is kept in the process."""
    await _warm(reading)
    for _ in range(2):
        await _page(reading, limit)
    assert reading.timelines.has(READER, limit)
    reading.steps.taken.clear()


async def test_a_warm_first_page_takes_one_look_at_redis(reading: Reading) -> None:
    """The list is read, its TTL is extended, and nothing else is asked."""
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    await _page(reading, LENGTH)
    reading.steps.taken.clear()
    assert await _page(reading, 3) == ids[:3]
    assert reading.steps.taken == ["read lists", "touch"]
    assert LIST in reading.redis.touched


async def test_a_page_that_is_kept_costs_a_barrier(reading: Reading) -> None:
    """This holds for single reads and for batches, as long as nothing changes."""
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    await _settle(reading)
    for _ in range(2):
        assert await _page(reading, 3) == ids[:3]
    (page,) = await reading.home.first_pages([READER], 3, ANY)
    assert isinstance(page, TweetPage)
    assert page.ids == ids[:3]
    assert reading.steps.taken == ["barrier"] * 3
    assert await _page(reading, 4) == ids[:4]
    assert "read lists" in reading.steps.taken  # a longer page is not kept


async def test_a_change_before_the_barrier_shows(reading: Reading) -> None:
    """What Redis reports before its reply to the barrier is in the page."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    await _settle(reading)
    new = reading.tweet(AUTHOR)
    reading.steps.before("barrier", reading.drain)
    assert await _page(reading, 3) == [new, *ids[:2]]
    await _settle(reading)
    reading.update(new, "another text")
    reading.steps.before("barrier", reading.drain)
    assert await _page(reading, 3) == [new, *ids[:2]]
    await _settle(reading)
    reading.delete(new)
    reading.steps.before("barrier", reading.drain)
    assert await _page(reading, 3) == ids
    reading.unfollow(READER, AUTHOR)
    reading.drain()
    assert await _page(reading, 3) == []


async def test_a_list_that_is_read_locally_is_touched(reading: Reading) -> None:
    """When touches are due again, the list is read in Redis and touched, and then kept again."""
    reading.feed_of(AUTHOR, 3)
    reading.drain()
    await _settle(reading)
    reading.redis.touched.clear()
    await _page(reading, 3)
    assert reading.redis.touched == []
    reading.redis.touch_period += 1
    await _page(reading, 3)
    assert reading.redis.touched == [LIST]
    await _page(reading, 3)
    reading.steps.taken.clear()
    await _page(reading, 3)
    assert reading.steps.taken == ["barrier"]


async def test_a_mixed_batch_takes_one_look_at_redis(reading: Reading) -> None:
    """The reply with the lists that are not kept is the barrier for those that are."""
    ids = reading.feed_of(AUTHOR, 3)
    other = reading.reader_of(AUTHOR)
    reading.drain()
    await reading.home.first_pages([other], LENGTH, ANY)
    await _settle(reading)
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
        assert await _page(reading, 3) == ids
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
    assert await _page(reading, 3) == ids


async def test_postgres_answers_if_the_barrier_fails(reading: Reading) -> None:
    """A page that is kept is not used while Redis does not answer."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    await _settle(reading)
    reading.redis.is_up = False
    assert await _page(reading, 3) == ids
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
    assert await _page(reading, 3) == ids[:3]
    assert reading.steps.taken == ["read lists", "touch", "read tweets"]
    reading.local.forget(None)
    reading.steps.taken.clear()
    await reading.home.first_pages([READER, other], LENGTH, ANY)
    assert reading.steps.taken == ["read lists", "touch", "read tweets"]


async def test_an_absent_list_is_built(reading: Reading) -> None:
    """The first reader builds the list, and its pages come from it."""
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    assert await _page(reading, 3) == ids[:3]
    assert reading.elements(LIST) == [b"=", *(b"%d" % id_ for id_ in ids), b"0"]
    assert "primary: home timeline" not in reading.steps.taken


@pytest.mark.parametrize("limit", [1, 3, LENGTH])
async def test_pages_go_on_below_the_list(reading: Reading, limit: int) -> None:
    """Page after page, a reader gets to the oldest tweet, first in the list, then in Postgres."""
    ids = reading.feed_of(AUTHOR, 2 * LENGTH + 1)
    reading.drain()
    found: list[int] = []
    while page := await _page(reading, limit, before=found[-1] if found else FROM_THE_TOP):
        found += page
    assert found == ids
    assert len(reading.elements(LIST)) == LENGTH + 1


@pytest.mark.parametrize("offset", [0, 1, 5, LENGTH - 2, LENGTH, 25])
async def test_an_offset_skips_tweets(reading: Reading, offset: int) -> None:
    """An offset works inside the list and below it."""
    ids = reading.feed_of(AUTHOR, 2 * LENGTH)
    reading.drain()
    await _warm(reading)
    assert await _page(reading, 2, offset=offset) == ids[offset : offset + 2]
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
    await _warm(reading)
    new = reading.tweet(AUTHOR)
    reading.drain()
    reading.redis.push(LIST, new)
    assert await _page(reading, 3) == [new, *ids]
    assert METRICS.take()[Metric.DUPLICATE_DROPPED] == 1
    assert reading.steps_of("primary") == []


async def test_a_long_log_is_compacted(reading: Reading) -> None:
    """A log that fills the window is sorted into the base, and the page is read again."""
    reading.feed_of(AUTHOR, 2)
    reading.drain()
    await _warm(reading)
    ids = reading.feed_of(AUTHOR, 5)
    reading.drain()
    assert await _page(reading, 2) == ids[:2]
    assert reading.elements(LIST)[0] == b"="
    assert reading.steps_of("primary") == []


async def test_a_list_without_a_base_is_built_again(reading: Reading) -> None:
    """Trimming can cut off the whole base of an unread list; such a list is removed and rebuilt."""
    await _warm(reading)
    ids = reading.feed_of(AUTHOR, 2 * LENGTH)
    reading.drain()
    assert len(reading.elements(LIST)) == LENGTH + 5
    assert await _page(reading, LENGTH) == ids[:LENGTH]
    assert len(reading.elements(LIST)) == LENGTH + 1


async def test_deleted_tweets_are_replaced_by_older_ones(reading: Reading) -> None:
    """A page is as full as it can be, though the list still has the ids of deleted tweets."""
    ids = reading.feed_of(AUTHOR, LENGTH - 2)
    reading.drain()
    await _warm(reading)
    for id_ in ids[:3]:
        reading.delete(id_)
    reading.drain()
    METRICS.take()
    assert await _page(reading, 2) == ids[3:5]
    assert METRICS.take()[Metric.PAGE_REFILLED] > 0
    assert await _page(reading, LENGTH) == ids[3:]


async def test_a_page_that_deletions_empty_comes_from_below_the_list(reading: Reading) -> None:
    """If all remaining tweets of an incomplete list were deleted, the page is in Postgres."""
    ids = reading.feed_of(AUTHOR, LENGTH + 3)
    reading.drain()
    await _warm(reading)
    for id_ in ids[:LENGTH]:
        reading.delete(id_)
    reading.drain()
    assert await _page(reading, 2) == ids[LENGTH : LENGTH + 2]


async def test_many_tweets_are_read_at_once_to_refill_a_page() -> None:
    """A list with many deleted tweets does not cost a round trip for each of them."""
    reading = Reading(length=2 * MIN_REFILL)
    reading.reader_of(reading.user())
    ids = reading.feed_of(AUTHOR, MIN_REFILL + 1)
    reading.drain()
    await _page(reading, 1)
    for id_ in ids[:-1]:
        reading.delete(id_)
    reading.drain()
    reading.steps.taken.clear()
    assert await _page(reading, 1) == ids[-1:]
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
    assert await _page(reading, 5) == expected
    new = reading.tweet(pulled)
    reading.drain()
    assert b"%d" % new not in reading.elements(LIST)
    assert b"%d" % new in reading.elements(author_list(pulled))
    assert await _page(reading, 5) == [new, *expected]
    assert METRICS.take()[Metric.PULLED_MERGED] >= 2


async def test_a_merge_ends_at_the_highest_floor(reading: Reading) -> None:
    """Postgres serves what is below the end of any list, even if another list reaches further."""
    pulled = reading.user()
    reading.follow(READER, pulled)
    reading.pull(pulled)
    old = reading.feed_of(AUTHOR, 3)
    reading.drain()
    await _page(reading, 1)  # builds a list that is complete
    many = reading.feed_of(pulled, LENGTH + 2)
    reading.drain()
    found: list[int] = []
    while page := await _page(reading, 4, before=found[-1] if found else FROM_THE_TOP):
        found += page
    assert found == [*many, *old]


async def test_postgres_merges_too_many_pull_authors(reading: Reading) -> None:
    """A read of too many lists of pull authors is left to Postgres, which merges them faster."""
    authors = range(10, 10 + MAX_MERGED // 3 + 1)
    reading.redis.put_list(LIST, b"=" + b",".join(b"%d" % author for author in authors), b"0")
    assert await _page(reading, 1) == []
    assert reading.steps_of("primary: home") == ["primary: home timeline"]
    assert reading.redis.touched == []


async def test_a_list_that_others_build_is_served_by_postgres(reading: Reading) -> None:
    """A reader does not wait for another one's build."""
    ids = reading.feed_of(AUTHOR, 2)
    reading.drain()
    reading.redis.put_list(LIST, b"=", b"B1800000000-other")
    assert await _page(reading, 2) == ids
    assert reading.elements(LIST) == [b"=", b"B1800000000-other"]


async def test_a_list_that_keeps_changing_is_served_by_postgres(reading: Reading) -> None:
    """After some tries a reader gives up, rather than compacting for ever."""
    reading.tweet(AUTHOR)
    reading.drain()

    def trim_the_base_away() -> None:
        reading.redis.put_list(LIST, b"9")

    for _ in range(MAX_TRIES + 1):
        reading.steps.before("read lists", trim_the_base_away)
    assert await _page(reading, 1) == reading.oracle(READER)
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
        assert await _page(reading, 3) == ids
        assert not reading.redis.is_up


async def test_redis_answers_while_postgres_is_down(reading: Reading) -> None:
    """A warm list and its tweets need no Postgres; what is below them does."""
    ids = reading.feed_of(AUTHOR, LENGTH + 1)
    reading.drain()
    await _warm(reading)
    reading.primary.is_up = False
    assert await _page(reading, 3) == ids[:3]
    assert await _page(reading, 3, before=ids[2]) == ids[3:6]
    with pytest.raises(DatabaseUnavailableError):
        await _page(reading, 3, before=ids[-2])


async def test_another_history_in_postgres_is_not_built_from(reading: Reading) -> None:
    """While Redis is at the former history, the page comes from Postgres without a requirement."""
    ids = reading.feed_of(AUTHOR, 3)
    reading.drain()
    reading.primary.begin_history("bbbbbbbbbb")
    assert await _page(reading, 3) == ids
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
    await _warm(reading)
    new = reading.tweet(AUTHOR)
    token = TokenFreshness(reading.primary.moment())
    assert (await _page(reading, 1, freshness=token)) == [new]
    assert reading.steps.taken == ["primary: home timeline"]
    lost = TokenFreshness(Moment("bbbbbbbbbb", Lsn(1)))
    with pytest.raises(ConsistencyTokenLostError):
        await _page(reading, 1, freshness=lost)


async def test_first_pages_answer_each_user_alone(reading: Reading) -> None:
    """Warm and absent lists give pages, and an unknown user gives an error."""
    ids = reading.feed_of(AUTHOR, 3)
    cold = reading.reader_of(AUTHOR)
    reading.drain()
    await _warm(reading)
    warm, unknown, built = await reading.home.first_pages([READER, 99, cold], 2, ANY)
    assert isinstance(warm, TweetPage)
    assert isinstance(built, TweetPage)
    assert (warm.ids, built.ids) == (ids[:2], ids[:2])
    assert isinstance(unknown, UserNotFoundError)
    assert await reading.home.first_pages([], 2, ANY) == []


async def test_first_pages_honour_a_token(reading: Reading) -> None:
    """No timeline of a batch comes from Redis if the batch has a consistency token."""
    reading.drain()
    await _warm(reading)
    new = reading.tweet(AUTHOR)
    token = TokenFreshness(reading.primary.moment())
    (page,) = await reading.home.first_pages([READER], 2, token)
    assert isinstance(page, TweetPage)
    assert page.ids == [new]
