"""Which records count for a shard, and how far its checkpoint moves."""

from __future__ import annotations

from fanfare.events.v1 import events_pb2 as pb
from hypothesis import example, given
from hypothesis import strategies as st

from core.feed.checkpoints import Checkpoint
from core.feed.history import Lsn
from fanout_worker.checkpoints import earliest
from fanout_worker.records import Record, advance, select_effective


def _record(offset: int, epoch: int, lsn: int = 0) -> Record:
    return Record.of(offset, _event(epoch, lsn))


def _event(epoch: int, lsn: int = 0) -> pb.FeedEvent:
    deleted = pb.UserDeleted(user_id=1)
    return pb.FeedEvent(relay_epoch=epoch, wal_position=lsn, user_deleted=deleted)


def _offsets(records: list[Record]) -> list[int]:
    return [record.offset for record in records]


def test_records_of_a_replaced_relay_are_skipped() -> None:
    """After a record of epoch 2, records of epoch 1 do not count."""
    records = [_record(0, 1), _record(1, 2), _record(2, 1), _record(3, 2)]
    assert _offsets(select_effective(records, 0, 0)) == [0, 1, 3]
    assert _offsets(select_effective(records, 0, 2)) == [1, 3]


def test_a_replayed_dead_letter_counts_whatever_its_epoch() -> None:
    """A dead letter has an old epoch, which must not lower the epoch for the records after it."""
    replayed = Record.of(1, _event(1), is_replayed=True)
    records = [_record(0, 3), replayed, _record(2, 2)]
    assert _offsets(select_effective(records, 0, 0)) == [0, 1]
    assert advance(Checkpoint(0, Lsn(0), 1, "t"), [replayed], 2, 7).epoch == 1


def test_applied_records_do_not_count_again() -> None:
    """Records below the checkpoint's offset are skipped."""
    assert _offsets(select_effective([_record(4, 1), _record(5, 1)], 5, 1)) == [5]


def test_a_checkpoint_advances_past_skipped_records() -> None:
    """A skipped record moves only the offset; LSN and epoch are the highest of those that count.

    A checkpoint that is already beyond the records stays as it is.
    """
    checkpoint = Checkpoint(0, Lsn(10), 1, "t")
    records = [_record(0, 2, 30), _record(1, 1, 99), _record(2, 2, 20)]
    assert advance(checkpoint, records, 3, 77) == Checkpoint(3, Lsn(30), 2, "t", 77)
    ahead = Checkpoint(9, Lsn(50), 3, "t", 5, "chunk")
    assert advance(ahead, records, 3, 77) == ahead


def test_the_end_of_a_batch_has_no_chunk_id() -> None:
    """No part of the next batch has been applied there."""
    within = Checkpoint(0, Lsn(10), 1, "t", 5, "chunk")
    assert advance(within, [_record(0, 1, 30)], 1, 77) == Checkpoint(1, Lsn(30), 1, "t", 77)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=3),
    st.lists(st.integers(0, 4), min_size=1, max_size=10),
)
@example([(0, 4), (1, 0)], [0, 3])  # the first checkpoint was created after the second
def test_a_record_that_counts_for_a_shard_counts_for_the_earliest_checkpoint(
    progress: list[tuple[int, int]], epochs: list[int]
) -> None:
    """The follower index sees the records that count for the earliest checkpoint of a row.

    If a shard counted another one, it would push to followers that the index does not know of.
    """
    # A checkpoint has seen the epochs below its offset, or was created with the newest epoch.
    row = [
        Checkpoint(offset, Lsn(0), max([epoch, *epochs[:offset]]), "t")
        for offset, epoch in progress
    ]
    records = [_record(offset, epoch) for offset, epoch in enumerate(epochs)]
    start = earliest(row)
    counting = select_effective(records, start.offset, start.epoch)
    for checkpoint in row:
        for record in select_effective(records, checkpoint.offset, checkpoint.epoch):
            assert record in counting
