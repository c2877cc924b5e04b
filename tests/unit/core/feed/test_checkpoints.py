"""The progress keys' values and what they demand of Postgres."""

from __future__ import annotations

from core.feed.checkpoints import Checkpoint, required_lsn


def test_a_value_says_what_was_written() -> None:
    """Encoding and decoding are inverse."""
    progress = Checkpoint(5, 2**40, 3, "Zk9-topic")
    assert Checkpoint.decode(progress.encode()) == progress


def test_the_highest_position_is_required() -> None:
    """What is built must include what any partition has applied."""
    values = [Checkpoint(1, 10, 1, "t").encode(), Checkpoint(9, 7, 1, "t").encode()]
    assert required_lsn(values) == 10


def test_one_absent_key_forbids_building() -> None:
    """While one partition is nobody's, a list would miss its tweets."""
    assert required_lsn([Checkpoint(1, 10, 1, "t").encode(), None]) is None
