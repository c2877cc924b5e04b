"""What a timeline and a tweet take of a read process, from the growth of two groups of readers."""

from __future__ import annotations

import pytest

from bench.memory import Growth, solve, split


def test_a_timeline_and_a_tweet_are_told_apart() -> None:
    """With 300 bytes a tweet and 1,000 a timeline, both are found again."""
    growth = [
        Growth(10 * 1000 + 150 * 300, timelines=10, tweets=150),
        Growth(40 * 1000 + 20 * 300, timelines=40, tweets=20),
    ]
    assert solve(growth) == pytest.approx((1000, 300))


def test_noise_is_not_a_negative_size() -> None:
    """Timelines that take nothing do not come out below zero."""
    timeline, tweet = solve([Growth(45_000, 10, 150), Growth(1000, 40, 20)])
    assert timeline == 0
    assert tweet > 0


def test_readers_are_split_by_the_tweets_that_they_bring() -> None:
    """A reader whose page is mostly known belongs to the second group."""
    pages = {1: range(20), 2: range(1, 21), 3: range(100, 120), 4: range(110, 130)}
    assert split(pages) == ([1, 3, 4], [2])
