"""Upper bounds of follower counts."""

from __future__ import annotations

import pytest

from write_service import follower_counts
from write_service.follower_counts import MAX_AGE_SECONDS, UNKNOWN, FollowerCounts


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bound_grows_with_every_follow() -> None:
    """An author with n followers at number s of the sequence has at most n + (t - s) at t."""
    counts = FollowerCounts()
    counts.remember({1: 70, 2: 0}, follows_drawn=1000)
    now = 1025
    assert [bound + now for bound in counts.bounds([1, 2])] == [95, 25]


def test_an_old_count_is_not_used() -> None:
    """A follow that was in progress during a count is missed for ten seconds at most."""
    clock = _Clock()
    counts = FollowerCounts(clock)
    counts.remember({1: 5}, follows_drawn=5)
    clock.now = MAX_AGE_SECONDS
    assert counts.bounds([1, 2]) == [0, UNKNOWN]
    clock.now += 0.001
    assert counts.bounds([1, 2]) == [UNKNOWN, UNKNOWN]


def test_the_cache_does_not_grow_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is emptied when it would exceed its maximum size."""
    monkeypatch.setattr(follower_counts, "MAX_AUTHORS", 3)
    counts = FollowerCounts()
    counts.remember({1: 1, 2: 1, 3: 1}, follows_drawn=0)
    counts.remember({4: 1}, follows_drawn=0)
    assert counts.bounds([1, 4]) == [UNKNOWN, 1]
