"""Kafka: one topic, its partitions, and the ways in which it loses records."""

from __future__ import annotations

from dataclasses import dataclass

from model.events import PARTITIONS, Event

from core.feed.history import Lsn


@dataclass(frozen=True)
class Record:
    """A record of a partition."""

    id: int
    """The id of the event."""
    event: Event
    history: str
    lsn: Lsn
    epoch: int
    readable: bool = True
    """Whether a worker can parse it."""
    replayed: bool = False
    """A dead letter sent again."""


@dataclass(frozen=True)
class KafkaCopy:
    """What an older copy of Kafka holds."""

    topic_id: int
    partitions: list[list[Record]]
    low: list[int]
    committed: dict[int, int]


class Kafka:
    """The topic, and the offsets that the consumer group has committed."""

    def __init__(self) -> None:
        self.topic_id = 1
        self.restored = 0
        """How often an older copy took over. Connections break each time."""
        self._topics = 1
        self.partitions: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self.low = [0] * PARTITIONS
        """The first offset that each partition still has."""
        self.committed: dict[int, int] = {}
        self.dead_letters: list[Record] = []

    def append(self, record: Record) -> int:
        """Append a record to its partition; return its offset."""
        partition = self.partitions[record.event.partition]
        partition.append(record)
        return len(partition) - 1

    def end(self, partition: int) -> int:
        """Return the offset after the last record."""
        return len(self.partitions[partition])

    def last(self, partition: int, offset: int) -> int | None:
        """Return the id of the event before the offset; None if Kafka does not have its record.

        Returns 0 if the offset is 0, or if the record is unreadable.
        """
        if not offset:
            return 0
        if not self.low[partition] < offset <= self.end(partition):
            return None
        record = self.partitions[partition][offset - 1]
        return record.id if record.readable else 0

    def recreate(self) -> None:
        """Delete the topic with all records, and create it again."""
        self._topics += 1
        self.topic_id = self._topics
        self.partitions = [[] for _ in range(PARTITIONS)]
        self.low = [0] * PARTITIONS
        self.committed = {}

    def copy(self) -> KafkaCopy:
        """Return what a copy taken now holds."""
        partitions = [list(records) for records in self.partitions]
        return KafkaCopy(self.topic_id, partitions, list(self.low), dict(self.committed))

    def restore(self, copy: KafkaCopy) -> None:
        """Continue from a copy: later records are lost, and their offsets are given out again."""
        self.restored += 1
        self.topic_id = copy.topic_id
        self.partitions = [list(records) for records in copy.partitions]
        self.low = list(copy.low)
        self.committed = dict(copy.committed)
