"""Two thousand runs, the same ones each time; see README.md."""

from __future__ import annotations

from itertools import islice

import pytest
from model.history import play
from model.rules import ALL_RULES
from model.search import Totals, histories

CHUNKS = 20
HISTORIES = 100


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_promises_are_kept_in_every_history(chunk: int) -> None:
    """Whatever is interleaved, killed or lost, pages are exact once all is drained."""
    totals = Totals()
    for seed, focus in islice(histories(chunk * HISTORIES), HISTORIES):
        result = play(seed, ALL_RULES, focus)
        totals.add(result)
        assert result.violation is None, f"seed {seed}, focus {focus}: {result.violation}"
    assert totals.figures["pages from Redis"] > 0
    assert totals.figures["builds"] > 0


def test_a_history_is_its_seed() -> None:
    """The same seed plays the same run, so that a failure can be repeated."""
    first = play(3, ALL_RULES, "all", telling=True)
    again = play(3, ALL_RULES, "all", telling=True)
    assert first.story == again.story
    assert first.story
