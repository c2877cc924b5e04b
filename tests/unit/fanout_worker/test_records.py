"""Which records count, and where a fence moves."""

from __future__ import annotations

from fanfare.events.v1 import events_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from core.feed.checkpoints import Checkpoint
from core.feed.history import Lsn
from fanout_worker.consumer import MAX_RETRY_SECONDS, retry_seconds
from fanout_worker.records import Record, advanced, base_of, effective, places


def _record(offset: int, epoch: int, wal_position: int = 0) -> Record:
    return Record.of(offset, pb.FeedEvent(relay_epoch=epoch, wal_position=wal_position))


def test_what_a_replaced_relay_still_sends_is_skipped() -> None:
    """After epoch 2 has been seen, records of epoch 1 do not count."""
    records = [_record(0, 1), _record(1, 2), _record(2, 1), _record(3, 2)]
    assert [r.offset for r in effective(records, 0, 0)] == [0, 1, 3]
    assert [r.offset for r in effective(records, 0, 2)] == [1, 3]


def test_what_the_shard_has_applied_does_not_count_again() -> None:
    """Records below the fence's offset are passed over."""
    assert [r.offset for r in effective([_record(4, 1), _record(5, 1)], 5, 1)] == [5]


def test_a_fence_advances_past_skipped_records() -> None:
    """Offset, WAL position and epoch become those of all that was applied."""
    fence = Checkpoint(0, Lsn(10), 1, "t")
    records = [_record(0, 2, 30), _record(1, 1, 99), _record(2, 2, 20)]
    assert advanced(fence, records, 3, 77) == Checkpoint(3, Lsn(30), 2, "t", 77)
    ahead = Checkpoint(9, Lsn(50), 3, "t")
    assert advanced(ahead, records, 3, 77) == ahead


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=3),
    st.lists(st.integers(0, 4), min_size=1, max_size=10),
)
def test_what_counts_for_a_shard_counts_for_the_base(
    places: list[tuple[int, int]], epochs: list[int]
) -> None:
    """Follower arrays are made of the base's records: a shard must not push by others."""
    # A key has seen what is below its offset, or was created with the newest epoch.
    fences = [
        Checkpoint(offset, Lsn(0), max([epoch, *epochs[:offset]]), "t") for offset, epoch in places
    ]
    records = [_record(offset, epoch) for offset, epoch in enumerate(epochs)]
    base = base_of(fences)
    counting = effective(records, base.offset, base.epoch)
    for fence in fences:
        for record in effective(records, fence.offset, fence.epoch):
            assert record in counting


def test_shards_that_stand_apart_are_told_apart() -> None:
    """After a failure in the middle of a batch some shards are at its end and some are not."""
    behind, ahead = Checkpoint(1, Lsn(0), 1, "t"), Checkpoint(4, Lsn(9), 1, "t")
    assert places([[behind, behind], [ahead, ahead]]) == {((1, 1), (4, 1)): [0, 1]}
    assert places([[behind, ahead]]) == {((1, 1),): [0], ((4, 1),): [1]}


def test_waits_grow_and_end_at_the_longest() -> None:
    """Also after a night of failures."""
    assert retry_seconds(0) < retry_seconds(1) < retry_seconds(2)
    assert retry_seconds(20_000) == MAX_RETRY_SECONDS
