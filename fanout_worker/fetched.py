"""What one fetch from Kafka brought, by partition."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message

from core.feed.events import UnreadableEventError
from core.runtime.metrics import METRICS, Metric
from fanout_worker.records import Record, is_of, read_record


@dataclass
class Fetched:
    """Records to be applied together."""

    records: dict[int, list[Record]] = field(default_factory=dict)
    """By partition; those of other histories, and unreadable ones, are not among them."""
    ends: dict[int, int] = field(default_factory=dict)
    """By partition, the offset behind the last record."""
    unreadable: dict[int, int] = field(default_factory=dict)
    """By partition, the offset of the last record that cannot be read."""
    dead_letters: list[tuple[Message, str]] = field(default_factory=list)
    """The unreadable records, each with the reason."""
    event_ids: dict[tuple[int, int], int] = field(default_factory=dict)
    """By partition and offset."""
    interrupted: set[int] = field(default_factory=set)
    """Partitions whose next records come from another leader, and are left out."""

    def last_event_id(self, partition: int, end: int) -> int:
        """Return the event id of the record before an offset; 0 if it is not known."""
        return self.event_ids.get((partition, end - 1), 0)


class Reader:
    """Reads messages, and notices when another broker has become the leader of a partition.

    The new leader may have other records at the same offsets: then the place must be looked up
    again before its records are applied.
    """

    def __init__(self) -> None:
        self._leader_epochs: dict[int, int] = {}

    def forget(self) -> None:
        """Begin again, with partitions whose place has just been looked up."""
        self._leader_epochs.clear()

    def read(
        self, messages: Sequence[Message], partitions: Collection[int], history: str
    ) -> Fetched:
        """Return what messages without an error hold, of these partitions, for the history."""
        fetched = Fetched()
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if (
                message.error() is not None
                or partition not in partitions
                or partition is None
                or offset is None
            ):
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
            if is_of(record, history):
                records.append(record)
            else:
                METRICS.add(Metric.FOREIGN_RECORD_SKIPPED)
        return fetched
