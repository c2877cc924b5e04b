"""One fetch from Kafka, parsed and sorted by partition."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.feed.events import REPLAYED_HEADER, UnreadableEventError
from core.feed.sharding import Partition
from core.runtime.metrics import METRICS, Metric
from fanout_worker.protocols import Message
from fanout_worker.records import Record, read_record

# The header of CloudEvents with the time at which the command was committed.
COMMIT_TIME_HEADER = "ce_time"


@dataclass
class FetchedBatch:
    """Records that are applied together."""

    records: dict[Partition, list[Record]] = field(default_factory=dict)
    """The readable records of the current history."""
    ends: dict[Partition, int] = field(default_factory=dict)
    """The offset after the last record, readable or not."""
    unreadable: dict[Partition, int] = field(default_factory=dict)
    """The offset of the last unreadable record, for partitions that have one."""
    dead_letters: list[tuple[Message, str]] = field(default_factory=list)
    """The unreadable records, each with the reason."""
    last_event_ids: dict[tuple[Partition, int], int] = field(default_factory=dict)
    """The event id of the record before an offset, or 0 if that record is unreadable, by partition
    and offset. Has the offsets in `ends` and in `unreadable`."""
    interrupted: set[Partition] = field(default_factory=set)
    """Partitions whose leader changed. The batch does not have the records of the new leader."""
    committed_at: dict[Partition, float] = field(default_factory=dict)
    """When the first record was committed, in seconds since 1970; only where that is known."""
    read_at: float = field(default_factory=time.monotonic)
    """When the batch was read, as time.monotonic() says."""


class RecordReader:
    """Parses messages, and notices when another broker becomes the leader of a partition.

    A new leader may have other records at the same offsets. So the checkpoints must be loaded, and
    compared with the records in Kafka, before its records are applied.
    """

    def __init__(self) -> None:
        self._leader_epochs: dict[Partition, int] = {}

    def reset(self) -> None:
        """Accept the current leader of each partition; call this after loading the checkpoints."""
        self._leader_epochs.clear()

    def read(
        self, messages: Sequence[Message], partitions: Collection[Partition], history: str
    ) -> FetchedBatch:
        """Return the batch that the messages hold.

        Args:
            messages: Messages that report an error are skipped.
            partitions: Messages of other partitions are skipped.
            history: Records of other histories are skipped, but `ends` passes them.
        """
        by_partition: dict[int | None, list[Message]] = {}
        for message in messages:
            if message.error() is None:
                by_partition.setdefault(message.partition(), []).append(message)
        fetched = FetchedBatch()
        for number, of_partition in by_partition.items():
            if number is not None and number in partitions:
                self._read_partition(Partition(number), of_partition, history, fetched)
        return fetched

    def _read_partition(
        self,
        partition: Partition,
        messages: Sequence[Message],
        history: str,
        fetched: FetchedBatch,
    ) -> None:
        """Add the messages of one partition to the batch."""
        records: list[Record] = []
        # After the last record.
        end = last_event_id = foreign = 0
        for message in messages:
            epoch = message.leader_epoch()
            if epoch is not None and self._leader_epochs.setdefault(partition, epoch) != epoch:
                fetched.interrupted.add(partition)
                break
            offset = message.offset() or 0
            try:
                record = read_record(message, offset)
            except UnreadableEventError as reason:
                fetched.dead_letters.append((message, str(reason)))
                fetched.unreadable[partition] = offset
                fetched.last_event_ids[partition, offset] = last_event_id if end == offset else 0
                end, last_event_id = offset + 1, 0
                continue
            end, last_event_id = offset + 1, record.event_id
            if record.is_of(history):
                records.append(record)
            else:
                foreign += 1
        METRICS.add(Metric.FOREIGN_RECORD_SKIPPED, foreign)
        if end:
            fetched.records[partition] = records
            fetched.ends[partition] = end
            fetched.last_event_ids[partition, end] = last_event_id
            if (committed_at := _commit_time(messages[0])) is not None:
                fetched.committed_at[partition] = committed_at


def _commit_time(message: Message) -> float | None:
    """Return when an event was committed, in seconds since 1970; None if that says nothing.

    The event of a replayed dead letter was committed long ago.
    """
    headers = dict(message.headers() or ())
    time_header = headers.get(COMMIT_TIME_HEADER)
    if not isinstance(time_header, bytes) or REPLAYED_HEADER in headers:
        return None
    try:
        return datetime.fromisoformat(time_header.decode()).timestamp()
    except ValueError:
        return None
