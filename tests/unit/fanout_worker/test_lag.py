"""How far the worker is behind."""

from __future__ import annotations

from core.feed.sharding import Partition
from fanout_worker.lag import MAX_OBSERVATIONS, Lag

P, Q = Partition(1), Partition(2)


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _lag(clock: _Clock) -> Lag:
    lag = Lag(clock)
    lag.resume({P: 10, Q: 20})
    return lag


def test_a_worker_that_has_caught_up_has_no_lag() -> None:
    """A partition that was quiet for an hour has no lag because of that."""
    clock = _Clock()
    lag = _lag(clock)
    lag.observe({P: 10, Q: 20})
    clock.now += 3600
    assert lag.events() == {P: 0, Q: 0}
    assert lag.seconds() == {P: 0, Q: 0}


def test_the_first_record_that_is_not_applied_counts() -> None:
    """Of two batches that were fetched, the first one's age is the lag until it is applied."""
    clock = _Clock()
    lag = _lag(clock)
    lag.fetch({P: 13}, {P: 990.0})
    lag.fetch({P: 15}, {P: 995.0})
    assert lag.events()[P] == 5
    assert lag.seconds() == {P: 10, Q: 0}
    assert lag.apply({P: 13}) == [10]
    assert lag.events()[P] == 2
    assert lag.seconds()[P] == 5
    clock.now += 1
    assert lag.apply({P: 15}) == [6]
    assert lag.seconds()[P] == 0


def test_records_that_are_not_fetched_count_since_they_were_seen() -> None:
    """A worker that fetches nothing, because it cannot load its checkpoints, has a lag too."""
    clock = _Clock()
    lag = _lag(clock)
    lag.observe({P: 12})
    clock.now += 30
    lag.observe({P: 14})
    clock.now += 30
    assert lag.events()[P] == 4
    assert lag.seconds()[P] == 60
    lag.apply({P: 12})
    assert lag.seconds()[P] == 30
    lag.apply({P: 14})
    assert lag.seconds()[P] == 0


def test_what_was_seen_stays_when_the_worker_resumes() -> None:
    """A worker that fails again and again resumes each time, and its lag goes on growing."""
    clock = _Clock()
    lag = _lag(clock)
    lag.observe({P: 12})
    for _ in range(5):
        clock.now += 10
        lag.resume({P: 10, Q: 20})
    assert lag.events() == {P: 2, Q: 0}
    assert lag.seconds() == {P: 50, Q: 0}
    lag.resume({P: 12, Q: 20})  # another worker has applied them
    assert lag.seconds()[P] == 0


def test_what_was_fetched_counts_while_the_worker_resumes() -> None:
    """A worker whose batch fails again and again has a lag also before it fetches once more."""
    clock = _Clock()
    lag = _lag(clock)
    for _ in range(3):
        lag.fetch({P: 13}, {P: 990.0})
        clock.now += 10
        lag.resume({P: 10, Q: 20})
    assert lag.events() == {P: 3, Q: 0}
    assert lag.seconds() == {P: 40, Q: 0}
    lag.observe({P: 13})
    lag.resume({P: 13, Q: 20})  # another worker has applied them
    assert lag.seconds()[P] == 0


def test_a_batch_that_is_thrown_away_is_not_applied_later() -> None:
    """It is fetched again after the worker has resumed, and counts once."""
    clock = _Clock()
    lag = _lag(clock)
    lag.fetch({P: 13}, {P: 990.0})
    lag.resume({P: 10, Q: 20})
    lag.fetch({P: 13}, {P: 990.0})
    assert lag.apply({P: 13}) == [10]


def test_other_workers_partitions_are_not_this_ones_lag() -> None:
    """A partition that was revoked, or never assigned, is not exported."""
    clock = _Clock()
    lag = _lag(clock)
    lag.revoke({P})
    lag.observe({P: 50})
    lag.fetch({P: 13}, {P: 990.0})
    assert lag.apply({P: 13}) == []
    assert lag.events() == {Q: 0}
    assert lag.partitions == [Q]


def test_a_clock_that_is_behind_gives_no_negative_age() -> None:
    """The commit time is by the clock of Postgres."""
    lag = _lag(_Clock())
    lag.fetch({P: 13}, {P: 1005.0})
    assert lag.seconds()[P] == 0
    assert lag.apply({P: 13}) == [0]


def test_observations_take_limited_memory() -> None:
    """While nothing is applied for hours, the oldest one is what counts."""
    clock = _Clock()
    lag = _lag(clock)
    for n in range(3 * MAX_OBSERVATIONS):
        lag.observe({P: 11 + n})
        clock.now += 1
    assert lag.seconds()[P] == 3 * MAX_OBSERVATIONS
    assert lag.events()[P] == 3 * MAX_OBSERVATIONS
