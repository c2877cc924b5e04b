"""The progress keys' values and what they demand of Postgres."""

from __future__ import annotations

from core.feed.checkpoints import Progress, required_wal_position


def test_a_value_says_what_was_written() -> None:
    """Encoding and decoding are inverse."""
    progress = Progress(5, 2**40, 3, "Zk9-topic")
    assert Progress.decode(progress.encode()) == progress


def test_the_highest_position_is_required() -> None:
    """What is built must include what any partition has applied."""
    values = [Progress(1, 10, 1, "t").encode(), Progress(9, 7, 1, "t").encode()]
    assert required_wal_position(values) == 10


def test_one_absent_key_forbids_building() -> None:
    """While one partition is nobody's, a list would miss its tweets."""
    assert required_wal_position([Progress(1, 10, 1, "t").encode(), None]) is None
