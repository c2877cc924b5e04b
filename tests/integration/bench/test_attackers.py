"""Two of the attacks run and are measured; how slow they make others is not asserted."""

from __future__ import annotations

from bench.attackers.measure import measure
from bench.attackers.people import Size

TINY = Size(rounds=1, seconds=0.3, authors=30, tweets=3, deleted_tweets=50, celebrity_followers=20)
ATTACKS = ["absent tweets", "large deletion"]
METHODS = ["GetUser", "GetHomeTimeline", "CreateTweet", "CreateSession"]


def test_attacks_are_measured() -> None:
    """There is a value for each attack and each method of the other users."""
    found = [row for rows in measure(ATTACKS, TINY, lambda _: None) for row in rows]
    assert [(row.attack, row.method) for row in found] == [
        (attack, method) for attack in ATTACKS for method in METHODS
    ]
    assert all(row.ratio > 0 for row in found)
