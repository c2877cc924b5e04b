"""One fetch from Kafka, parsed and sorted by partition."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from core.feed.events import UnreadableEventError
from core.feed.sharding import Partition
from core.runtime.metrics import METRICS, Metric
from fanout_worker.protocols import Message
from fanout_worker.records import Record, read_record


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
    event_ids: dict[tuple[Partition, int], int] = field(default_factory=dict)
    """The event ids of the readable records, by partition and offset."""
    interrupted: set[Partition] = field(default_factory=set)
    """Partitions whose leader changed. The batch does not have the records of the new leader."""

    def last_event_id(self, partition: Partition, end: int) -> int:
        """Return the event id of the record before an offset, or 0 if it is unknown."""
        return self.event_ids.get((partition, end - 1), 0)


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
        fetched = FetchedBatch()
        for message in messages:
            number, offset = message.partition(), message.offset()
            if message.error() is not None or number is None or offset is None:
                continue
            partition = Partition(number)
            if partition not in partitions:
                continue
            epoch = message.leader_epoch()
            if epoch is not None and self._leader_epochs.setdefault(partition, epoch) != epoch:
                fetched.interrupted.add(partition)
            if partition in fetched.interrupted:
                continue
            fetched.ends[partition] = offset + 1
            records = fetched.records.setdefault(partition, [])
            try:
                record = read_record(message)
            except UnreadableEventError as reason:
                fetched.dead_letters.append((message, str(reason)))
                fetched.unreadable[partition] = offset
                continue
            fetched.event_ids[partition, offset] = record.event.event_id
            if record.is_of(history):
                records.append(record)
            else:
                METRICS.add(Metric.FOREIGN_RECORD_SKIPPED)
        return fetched
