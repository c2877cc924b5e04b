"""Checkpoints: their stored form, and what they require of Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.feed.checkpoints import Checkpoint, required_lsn
from core.feed.history import Lsn

# Kafka's ids are in base64, of the usual alphabet or of the one for URLs.
CHECKPOINT = Checkpoint(5, Lsn(2**40), 3, "Zk9+t/o-p_ic", 77)


def _stored(offset: int, lsn: int) -> bytes:
    return Checkpoint(offset, Lsn(lsn), 1, "topic").encode()


@pytest.mark.parametrize("chunk_id", ["", "0a1b"])
def test_encoding_and_decoding_are_inverse(chunk_id: str) -> None:
    """Decoding a stored checkpoint returns the checkpoint that was encoded."""
    checkpoint = replace(CHECKPOINT, chunk_id=chunk_id)
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


def test_the_stored_form_does_not_change() -> None:
    """Workers of two versions read each other's checkpoints during an upgrade."""
    assert Checkpoint(5, Lsn(10), 3, "Zk9-topic", 77).encode() == b"5 10 3 Zk9-topic 77"


def test_versions_without_chunk_ids_take_one_for_another_topic() -> None:
    """They read five fields. The worker then builds everything again, which is always correct.

    If it went on from such a checkpoint, it would store it again without the chunk id.
    """
    fields = replace(CHECKPOINT, chunk_id="0a1b").encode().decode().split(" ")
    offset, lsn, epoch, topic_id, last_event_id = fields
    assert (int(offset), int(lsn), int(epoch), int(last_event_id)) == (5, 2**40, 3, 77)
    assert topic_id != CHECKPOINT.topic_id


def test_the_highest_lsn_is_required() -> None:
    """A list must include what has been applied from any partition."""
    assert required_lsn([_stored(1, 10), _stored(9, 7)]) == 10


def test_nothing_may_be_cached_while_a_checkpoint_is_absent() -> None:
    """No worker would add the tweets of that partition to the list."""
    assert required_lsn([_stored(1, 10), None]) is None
