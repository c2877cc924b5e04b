"""The rules that decide whether `fanfare status` shows a part of the system as wrong."""

from __future__ import annotations

import pytest

from ops.feed_status import OutboxBacklog, PartitionStatus
from ops.status import MAX_OUTBOX_SECONDS, MAX_STALL_SECONDS, outbox_row, watch_partitions


def _status(end: int, applied: int | None) -> PartitionStatus:
    return PartitionStatus(3, end, None, applied)


class FakePartition:
    """A partition that has the given statuses one after the other, and a clock."""

    def __init__(self, *statuses: PartitionStatus) -> None:
        self._statuses = list(statuses)
        self.seconds = 0.0

    def read(self) -> list[PartitionStatus]:
        """Return the next status; the last one stays."""
        return [self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]]

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


def test_a_partition_without_lag_is_right_at_once() -> None:
    """A partition without lag is reported without waiting."""
    fake = FakePartition(_status(5, 5))
    (row,) = watch_partitions(fake.read, fake.sleep)
    assert (row.text, row.is_wrong) == ("lag 0 (end 5, committed none)", False)
    assert fake.seconds == 0


@pytest.mark.parametrize("applied", [5, None])
def test_a_stalled_partition_is_wrong(applied: int | None) -> None:
    """A partition is wrong if nothing is applied for 10 s, even while records arrive."""
    fake = FakePartition(_status(9, applied), _status(20, applied))
    (row,) = watch_partitions(fake.read, fake.sleep)
    assert row.is_wrong
    assert row.text.endswith(", no progress for 10 s")
    assert fake.seconds == MAX_STALL_SECONDS


def test_a_partition_that_is_being_worked_off_is_right() -> None:
    """Lag alone is not wrong: it is normal under load."""
    fake = FakePartition(_status(9, 5), _status(9, 5), _status(20, 6))
    (row,) = watch_partitions(fake.read, fake.sleep)
    assert (row.text, row.is_wrong) == ("lag 14 (end 20, committed none)", False)


def test_a_partition_that_gets_its_first_checkpoint_is_right() -> None:
    """A missing checkpoint is not wrong if the worker creates it within the time."""
    fake = FakePartition(_status(9, None), _status(9, 9))
    (row,) = watch_partitions(fake.read, fake.sleep)
    assert not row.is_wrong


def test_an_old_event_in_the_outbox_is_wrong() -> None:
    """The age of the oldest event decides, not the number of events."""
    assert not outbox_row(OutboxBacklog(10_000, MAX_OUTBOX_SECONDS)).is_wrong
    assert outbox_row(OutboxBacklog(1, MAX_OUTBOX_SECONDS + 1)).is_wrong
