"""List building: who builds, from what, and when a build is given up."""

from __future__ import annotations

import asyncio

import pytest
from helpers.fakes.reading import NOW, Reading
from helpers.fakes.steps import Running

from core.errors import DatabaseUnavailableError, UserNotFoundError
from core.feed.history import Lsn, OtherHistoryError
from core.feed.timeline_lists import (
    TimelineList,
    Window,
    WindowState,
    author_list,
    encode_separator,
    home_list,
)
from core.runtime.callers import CALLER
from core.runtime.metrics import METRICS, Metric
from read_service import list_building
from read_service.list_building import (
    BUILD_SECONDS,
    MAX_BUILDERS,
    MAX_LISTS_PER_BUILD,
    PAUSE_SECONDS,
    ListBuilder,
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


class _Busy:
    """Builds that take all places of builders, until a test ends them."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        readers = [reading.reader_of(1) for _ in range(MAX_BUILDERS)]
        reading.drain()
        self._builds = [Running(reading.builder.build([home_list(reader)])) for reader in readers]
        for build in self._builds:
            build.step()

    async def waiting(self, *lists: TimelineList) -> list[asyncio.Task[dict[TimelineList, Window]]]:
        """Return reads that wait to build these."""
        builds = [asyncio.create_task(self._reading.builder.build([list_])) for list_ in lists]
        await asyncio.sleep(0)
        return builds

    def end(self) -> None:
        """End the builds."""
        for build in self._builds:
            build.finish()
        self._reading.steps.taken.clear()


async def test_reads_that_wait_are_built_together(reading: Reading) -> None:
    """Postgres is not overloaded when all lists are lost: it reads the bases in one statement."""
    busy = _Busy(reading)
    builds = await busy.waiting(READER, READER, OWN)
    busy.end()
    expected = Window(WindowState.READABLE, [5, 4, 3])
    assert [await build for build in builds] == [
        {READER: expected},
        {READER: expected},
        {OWN: expected},
    ]
    assert reading.elements(READER) == reading.elements(OWN) == [b"=", b"5", b"4", b"3", b"0"]
    assert reading.steps.taken == [
        *["begin build"] * 2,
        "read checkpoints",
        *["primary: newest ids", "primary: newest ids of authors"],
        *["finish build"] * 2,
    ]
    await reading.builder.build([home_list(reading.reader_of(1))])  # all places are free again


async def test_a_read_that_waits_gets_what_was_applied_before(reading: Reading) -> None:
    """What it waits for begins after it has asked."""
    busy = _Busy(reading)
    tweet = reading.tweet(1)
    reading.drain()
    (build,) = await busy.waiting(READER)
    busy.end()
    assert (await build)[READER].ids[0] == tweet


async def test_callers_take_turns_to_wait_for_builds(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller with many absent lists delays others by one each."""
    monkeypatch.setattr(list_building, "MAX_LISTS_TOGETHER", 2)
    busy = _Busy(reading)
    greedy = [home_list(reading.reader_of(1)) for _ in range(3)]
    order: list[TimelineList] = []
    builds = []
    for caller, lists in (("greedy", greedy), ("other", [READER])):
        CALLER.set((caller,))
        for build in await busy.waiting(*lists):
            build.add_done_callback(lambda build: order.extend(build.result()))
            builds.append(build)
    busy.end()
    await asyncio.wait(builds)
    assert order.index(READER) < 2


async def test_a_read_waits_for_a_limited_time(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then Postgres answers it, and its list is not built for nobody."""
    monkeypatch.setattr(list_building, "WAIT_SECONDS", 0)
    busy = _Busy(reading)
    with pytest.raises(ListNotReadyError):
        await reading.builder.build([READER])
    busy.end()
    assert reading.elements(READER) == []


async def test_only_some_reads_wait(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who cannot wait get their pages from Postgres; so do those who need several lists."""
    monkeypatch.setattr(list_building, "MAX_WAITING", 1)
    busy = _Busy(reading)
    (build,) = await busy.waiting(READER)
    for lists in ([OWN], [READER, OWN]):
        with pytest.raises(ListNotReadyError):
            await reading.builder.build(lists)
    busy.end()
    await build


async def test_a_read_that_ends_while_it_waits_harms_no_other(reading: Reading) -> None:
    """Its list is not built if that has not begun, and the others get theirs."""
    other = home_list(reading.reader_of(1))
    reading.drain()
    busy = _Busy(reading)
    gone, build, late = await busy.waiting(OWN, READER, other)
    gone.cancel()
    await asyncio.sleep(0)
    busy.end()
    reading.steps.before("primary: newest ids", late.cancel)
    assert (await build)[READER].ids == [5, 4, 3]
    assert reading.elements(OWN) == []


@pytest.mark.parametrize("failure", ["nobody", "postgres", "redis", "checkpoint"])
async def test_lists_that_cannot_be_built_together(
    reading: Reading, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read that waits for one is told so, and the places of the builders are free again."""
    together = 2 if failure == "nobody" else 1
    monkeypatch.setattr(list_building, "MAX_LISTS_TOGETHER", together)
    monkeypatch.setattr(list_building, "WAIT_SECONDS", 60)
    nobody = home_list(99)
    busy = _Busy(reading)
    builds = await busy.waiting(READER, nobody, OWN)
    busy.end()
    if failure == "postgres":
        reading.primary.is_up = False
    elif failure == "redis":
        reading.redis.is_up = False
    elif failure == "checkpoint":
        reading.redis.set_applied(READER.shard, None)
    _, waiting = await asyncio.wait(builds, timeout=5)
    assert not waiting
    is_built = [build.exception() is None for build in builds]
    assert (
        is_built
        == {
            "nobody": [True, False, True],
            "postgres": [False, False, False],
            "redis": [False, False, False],
            "checkpoint": [False, False, True],
        }[failure]
    )
    assert reading.elements(nobody) == []
    reading.primary.is_up = reading.redis.is_up = True
    await reading.builder.build([home_list(reading.reader_of(1))])


@pytest.mark.parametrize("later", [NOW + 2 * PAUSE_SECONDS, NOW - 3600])
async def test_no_lease_is_taken_right_after_a_checkpoint_was_absent(later: float) -> None:
    """When Redis was emptied, each read would otherwise make three round trips in vain.

    A clock that is set back does not make the pause longer.
    """
    reading, now = Reading(), float(NOW)
    reader = home_list(reading.reader_of(reading.user()))
    builder = ListBuilder(reading.cache, reading.store, 4, clock=lambda: now)
    reading.redis.set_applied(reader.shard, None)
    for expected in (["begin build", "read checkpoints", "abandon build"], []):
        reading.steps.taken.clear()
        with pytest.raises(ListNotReadyError):
            await builder.build([reader])
        assert reading.steps.taken == expected
    reading.redis.set_applied(reader.shard, Lsn(9))
    now = later
    assert reader in await builder.build([reader])


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
