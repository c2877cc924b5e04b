"""Checkpoints: how they are stored, and which LSN they require of Postgres."""

from __future__ import annotations

from core.feed.checkpoints import Checkpoint, required_lsn


def test_a_checkpoint_survives_encoding() -> None:
    """Decoding gives back what was encoded."""
    checkpoint = Checkpoint(5, 2**40, 3, "Zk9-topic")
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


def test_the_highest_lsn_is_required() -> None:
    """A list that is built must include what was applied from every partition."""
    values = [Checkpoint(1, 10, 1, "t").encode(), Checkpoint(9, 7, 1, "t").encode()]
    assert required_lsn(values) == 10


def test_a_missing_checkpoint_forbids_building() -> None:
    """A list would lack the tweets of a partition whose events are not applied."""
    assert required_lsn([Checkpoint(1, 10, 1, "t").encode(), None]) is None
