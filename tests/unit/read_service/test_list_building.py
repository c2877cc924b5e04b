"""List building: who builds, from what, and when a build is given up."""

from __future__ import annotations

import asyncio

import pytest
from helpers.fakes.reading import NOW, Reading
from helpers.fakes.steps import Running

from core.errors import DatabaseUnavailableError, UserNotFoundError
from core.feed.history import OtherHistoryError
from core.feed.timeline_lists import (
    Window,
    WindowState,
    author_list,
    encode_separator,
    home_list,
)
from core.runtime.metrics import METRICS, Metric
from read_service.list_building import (
    BUILD_SECONDS,
    MAX_BUILDERS,
    MAX_LISTS_PER_BUILD,
    ListNotReadyError,
)


@pytest.fixture(autouse=True)
def _no_counts() -> None:
    METRICS.take()


@pytest.fixture
def reading() -> Reading:
    """Return a read service with a reader (user 2) of an author (user 1) with three tweets."""
    reading = Reading()
    author = reading.user()
    reading.reader_of(author)
    reading.feed_of(author, 3)
    reading.drain()
    return reading


READER, OWN = home_list(2), author_list(1)


async def test_lists_of_both_kinds_are_built(reading: Reading) -> None:
    """A home timeline and an author's own list get their ids, and say that there are no more."""
    windows = await reading.builder.build([READER, OWN])
    built = [b"=", b"5", b"4", b"3", b"0"]
    assert reading.elements(READER) == built
    assert reading.elements(OWN) == built
    expected = Window(WindowState.READABLE, [5, 4, 3])
    assert windows == {READER: expected, OWN: expected}


async def test_a_list_has_no_more_ids_than_its_length(reading: Reading) -> None:
    """If there are more tweets than a list holds, the newest are listed, and there is no tail."""
    reading.feed_of(1, 2)
    reading.drain()
    windows = await reading.builder.build([READER])
    assert reading.elements(READER) == [b"=", b"7", b"6", b"5", b"4"]
    assert windows == {READER: Window(WindowState.READABLE, [7, 6, 5, 4], floor=4)}


async def test_the_lease_is_taken_before_the_checkpoints_are_read(reading: Reading) -> None:
    """What is applied later reaches the list; what was applied before is in what is read."""
    await reading.builder.build([READER])
    assert reading.steps.taken == [
        "begin build",
        "read checkpoints",
        "primary: newest ids",
        "finish build",
    ]


@pytest.mark.parametrize("step", ["read checkpoints", "primary: newest ids", "finish build"])
async def test_a_tweet_that_is_applied_during_a_build_is_listed(
    reading: Reading, step: str
) -> None:
    """It was pushed to the list that is being built, or is in what was read, or both."""

    def interfere() -> None:
        reading.tweet(1)
        reading.drain()

    reading.steps.before(step, interfere)
    windows = await reading.builder.build([READER])
    assert reading.elements(READER)[:5] == [b"=", b"6", b"5", b"4", b"3"]
    # What is applied after the read from Postgres is not in the window.
    assert list(windows[READER].ids) == ([5, 4, 3] if step == "finish build" else [6, 5, 4, 3])


async def test_a_build_names_the_pull_authors(reading: Reading) -> None:
    """Readers merge the lists of these."""
    reading.pull(1)
    reading.drain()
    windows = await reading.builder.build([READER])
    assert reading.elements(READER)[0] == encode_separator([1])
    assert windows[READER].pulled == (1,)


async def test_a_list_that_others_build_is_not_built(reading: Reading) -> None:
    """Postgres serves the second reader, and the first build goes on."""
    first = Running(reading.builder.build([READER]))
    first.step()  # its turn to take the lease
    first.step()
    with pytest.raises(ListNotReadyError):
        await reading.builder.build([READER])
    first.finish()
    assert reading.elements(READER) == [b"=", b"5", b"4", b"3", b"0"]


async def test_a_reader_builds_what_others_do_not(reading: Reading) -> None:
    """The lists that could be leased are built, but this read cannot use the others yet."""
    reading.redis.put_list(OWN, b"=", b"B1-other")
    with pytest.raises(ListNotReadyError):
        await reading.builder.build([READER, OWN])
    assert reading.elements(READER) == [b"=", b"5", b"4", b"3", b"0"]
    assert reading.elements(OWN) == [b"=", b"B1-other"]


@pytest.mark.parametrize("step", ["read checkpoints", "primary: newest ids", "finish build"])
async def test_a_build_is_overtaken_by_an_unfollow(reading: Reading, step: str) -> None:
    """What was read may still contain tweets of the unfollowed author, so it is thrown away."""

    def interfere() -> None:
        reading.unfollow(2, 1)
        reading.drain()

    reading.steps.before(step, interfere)
    with pytest.raises(ListNotReadyError):
        await reading.builder.build([READER])
    assert reading.elements(READER) == []


async def test_nothing_is_built_without_checkpoints(reading: Reading) -> None:
    """Without them the list would not be kept up to date; the lease is given back, and counted."""
    reading.redis.set_applied(READER.shard, None)
    with pytest.raises(ListNotReadyError):
        await reading.builder.build([READER])
    assert reading.elements(READER) == []
    assert METRICS.take() == {Metric.CHECKPOINT_MISSING: 1}
    assert reading.steps_of("primary") == []


async def test_nothing_is_built_from_a_replica_that_lags() -> None:
    """The base has what was applied before the build, though the replica lacks it."""
    reading = Reading(has_replica=True)
    author = reading.user()
    reader = reading.reader_of(author)
    reading.replica.replay(reading.primary)
    tweet = reading.tweet(author)
    reading.drain()
    await reading.builder.build([home_list(reader)])
    assert reading.elements(home_list(reader)) == [b"=", b"%d" % tweet, b"0"]


async def test_a_home_timeline_of_nobody_is_not_built(reading: Reading) -> None:
    """The caller gets an error, and no list is left."""
    with pytest.raises(UserNotFoundError):
        await reading.builder.build([home_list(99)])
    assert reading.elements(home_list(99)) == []


@pytest.mark.parametrize("failure", ["down", "other history"])
async def test_a_build_that_fails_is_abandoned(reading: Reading, failure: str) -> None:
    """The next reader need not wait until the lease has expired."""

    def interfere() -> None:
        if failure == "down":
            reading.primary.is_up = False
        else:
            reading.primary.begin_history("bbbbbbbbbb")

    reading.steps.before("primary: newest ids", interfere)
    with pytest.raises((DatabaseUnavailableError, OtherHistoryError)):
        await reading.builder.build([READER])
    assert reading.elements(READER) == []


async def test_a_build_that_is_cancelled_is_abandoned(reading: Reading) -> None:
    """A caller who hangs up leaves no unfinished list behind."""
    build = asyncio.ensure_future(reading.builder.build([READER]))
    reading.steps.before("primary: newest ids", build.cancel)
    with pytest.raises(asyncio.CancelledError):
        await build
    assert reading.elements(READER) == []


async def test_only_some_reads_build_at_a_time(reading: Reading) -> None:
    """Postgres is not overloaded when all lists are lost; a build that ends makes room."""
    readers = [reading.reader_of(1) for _ in range(MAX_BUILDERS + 1)]
    reading.drain()
    builds = [Running(reading.builder.build([home_list(reader)])) for reader in readers[:-1]]
    for build in builds:
        build.step()
    last = home_list(readers[-1])
    with pytest.raises(ListNotReadyError):
        await reading.builder.build([last])
    builds[0].finish()
    await reading.builder.build([last])
    for build in builds:
        build.finish()


async def test_a_read_builds_a_limited_number_of_lists(reading: Reading) -> None:
    """The first of too many lists are built, so that a later read finds them."""
    authors = reading.users(MAX_LISTS_PER_BUILD + 1)
    lists = [author_list(author) for author in authors]
    with pytest.raises(ListNotReadyError):
        await reading.builder.build(lists)
    assert [list_ for list_ in lists if not reading.elements(list_)] == [lists[-1]]


@pytest.mark.parametrize("age", [BUILD_SECONDS, BUILD_SECONDS + 1])
async def test_a_list_whose_builder_died_is_removed(reading: Reading, age: float) -> None:
    """It is removed after the time that a build may take, and left alone until then."""
    build_lease = f"{int(NOW - age)}-dead"
    reading.redis.put_list(READER, b"=", b"B" + build_lease.encode())
    with pytest.raises(ListNotReadyError):
        await reading.lists.windows([READER], None)
    assert bool(reading.elements(READER)) == (age <= BUILD_SECONDS)
    assert METRICS.take() == ({} if age <= BUILD_SECONDS else {Metric.BUILD_ABANDONED: 1})
