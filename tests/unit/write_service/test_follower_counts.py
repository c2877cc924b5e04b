"""Which authors need not be counted."""

from __future__ import annotations

import pytest

from write_service import follower_counts
from write_service.follower_counts import BELIEVED_SECONDS, UNKNOWN, FollowerCounts


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_margin_grows_with_the_follows_drawn_since() -> None:
    """With n followers at s, there are at most n + (now - s) of them."""
    counts = FollowerCounts()
    counts.keep({1: 70, 2: 0}, drawn=1000)
    now = 1025
    assert [margin + now for margin in counts.margins([1, 2])] == [95, 25]


def test_who_was_not_counted_lately_is_unknown() -> None:
    """A follow under way at the count is missed, but not for long."""
    clock = _Clock()
    counts = FollowerCounts(clock)
    counts.keep({1: 5}, drawn=5)
    clock.now = BELIEVED_SECONDS
    assert counts.margins([1, 2]) == [0, UNKNOWN]
    clock.now += 0.001
    assert counts.margins([1, 2]) == [UNKNOWN, UNKNOWN]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of authors may tweet."""
    monkeypatch.setattr(follower_counts, "MAX_AUTHORS", 3)
    counts = FollowerCounts()
    counts.keep({1: 1, 2: 1, 3: 1}, drawn=0)
    counts.keep({4: 1}, drawn=0)
    assert counts.margins([1, 4]) == [UNKNOWN, 1]
