"""Kafka: one topic, its partitions, and the ways in which it loses records."""

from __future__ import annotations

from dataclasses import dataclass

from model.events import PARTITIONS, Event


@dataclass(frozen=True)
class Record:
    """A record of a partition."""

    event: Event
    wal_position: int
    epoch: int
    readable: bool = True
    """Whether a worker can parse it."""
    replayed: bool = False
    """A dead letter sent again."""


class Kafka:
    """The topic, and the offsets that the consumer group has committed."""

    def __init__(self) -> None:
        self.topic_id = 1
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

    def create_anew(self) -> None:
        """Delete the topic with all records and create one of its name."""
        self.topic_id += 1
        self.partitions = [[] for _ in range(PARTITIONS)]
        self.low = [0] * PARTITIONS
        self.committed = {}
