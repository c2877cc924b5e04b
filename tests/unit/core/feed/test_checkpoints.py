"""Checkpoints: their stored form, and what they require of Postgres."""

from __future__ import annotations

from core.feed.checkpoints import Checkpoint, required_lsn
from core.feed.history import Lsn


def _stored(offset: int, lsn: int) -> bytes:
    return Checkpoint(offset, Lsn(lsn), 1, "topic").encode()


def test_encoding_and_decoding_are_inverse() -> None:
    """Decoding a stored checkpoint returns the checkpoint that was encoded."""
    checkpoint = Checkpoint(5, Lsn(2**40), 3, "Zk9-topic", 77)
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


def test_the_stored_form_does_not_change() -> None:
    """Workers of two versions read each other's checkpoints during an upgrade."""
    assert Checkpoint(5, Lsn(10), 3, "Zk9-topic", 77).encode() == b"5 10 3 Zk9-topic 77"


def test_the_highest_lsn_is_required() -> None:
    """A list must include what has been applied from any partition."""
    assert required_lsn([_stored(1, 10), _stored(9, 7)]) == 10


def test_nothing_may_be_cached_while_a_checkpoint_is_absent() -> None:
    """No worker would add the tweets of that partition to the list."""
    assert required_lsn([_stored(1, 10), None]) is None
