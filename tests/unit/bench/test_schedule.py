"""The time of a run, and how many repetitions fit into it."""

from __future__ import annotations

from bench.benchmarks import BENCHMARKS, FULL_SECONDS, QUICK_SECONDS, STARTING_SECONDS
from bench.schedule import Repetitions, Schedule


class FakeClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        """Begin at an arbitrary time."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_planned_times_fit_into_the_run() -> None:
    """On the machine for which they are planned, all benchmarks have all their repetitions."""
    for place, seconds in enumerate((FULL_SECONDS, QUICK_SECONDS)):
        planned = sum(row.planned[place] for row in BENCHMARKS.values())
        assert STARTING_SECONDS + planned <= seconds


def test_time_that_is_left_over_goes_to_later_benchmarks() -> None:
    """A benchmark that is quicker or slower than planned changes what the later ones may take."""
    clock = FakeClock()
    schedule = Schedule({"one": 10, "two": 20, "three": 10}, 80, clock)
    assert schedule.begin("one") == 20
    clock.now += 5
    assert schedule.begin("two") == 50
    clock.now += 70
    assert schedule.begin("three") == 5


def test_a_benchmark_that_begins_late_has_no_time() -> None:
    """It then makes one repetition."""
    clock = FakeClock()
    schedule = Schedule({"one": 10, "two": 10}, 30, clock)
    schedule.begin("one")
    clock.now += 60
    assert schedule.begin("two") == 0
    repetitions = Repetitions(5, 0, clock)
    for _ in repetitions.series():
        clock.now += 1
    assert repetitions.done == [1]


def test_repetitions_end_before_the_time_is_used_up() -> None:
    """A repetition begins only if one as long as the longest so far would end in time."""
    clock = FakeClock()
    repetitions = Repetitions(5, 95, clock)
    for number in repetitions.series():
        clock.now += 30 if number == 1 else 20
    assert repetitions.done == [3]
    assert repetitions.shortfall == "only 3 of 5 repetitions, because the time was used up"


def test_each_series_has_its_share_of_the_time() -> None:
    """The first of two series leaves time for the second, which uses what is left."""
    clock = FakeClock()
    repetitions = Repetitions(5, 100, clock)
    for share in (0.5, 1.0):
        for _ in repetitions.series(share):
            clock.now += 15
    assert repetitions.done == [3, 3]
    clock.now += 1000
    for _ in repetitions.series():
        clock.now += 15
    assert repetitions.done == [3, 3, 1]
    assert "only 1 of 5" in repetitions.shortfall


def test_there_are_as_many_repetitions_as_wanted_if_there_is_time() -> None:
    """A series without a limit is repeated as often as wanted."""
    repetitions = Repetitions(3)
    assert list(repetitions.series()) == [1, 2, 3]
    assert not repetitions.shortfall
    assert not Repetitions(3).shortfall
