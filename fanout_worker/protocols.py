"""What the fan-out needs of Redis, Postgres and Kafka.

The docstrings are the contract. The tests of the worker's decisions use fakes of these protocols;
one contract suite per protocol runs against both the fake and the real server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from confluent_kafka import KafkaError
from numpy.typing import NDArray

from core.feed.checkpoints import Checkpoint
from core.feed.history import Moment
from core.feed.keys import Keys
from core.feed.sharding import Partition, Shard
from fanout_worker.chunks import Round

# User ids.
Followers = NDArray[np.int64]
# By partition: the checkpoint of each shard.
CheckpointRows = Mapping[Partition, Sequence[Checkpoint]]


class TimelineShards(Protocol):
    """The shards of Redis, as one worker uses them.

    The methods use the keys of one history, which enter_history() sets. They raise redis.RedisError
    or OSError when Redis does not answer or refuses a command; the caller must then call close()
    before it uses the shards again.
    """

    @property
    def keys(self) -> Keys:
        """The keys of the current history."""
        ...

    def enter_history(self, history: str) -> None:
        """Use the keys of this history from now on."""
        ...

    def read_checkpoints(
        self, partitions: Sequence[Partition]
    ) -> dict[Partition, list[Checkpoint | None]]:
        """Return the stored checkpoints by partition, then shard; None where one is absent."""
        ...

    def create_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """Store a checkpoint if there is none; an existing one stays as it is."""
        ...

    def remove_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """Remove a checkpoint if Redis still holds exactly this one; leave any other as it is."""
        ...

    def apply(self, rounds: Iterable[Round], before: CheckpointRows, after: CheckpointRows) -> None:
        """Apply rounds, and move the checkpoints with them.

        A chunk takes effect only if all checkpoints of its shard are the expected ones, and in the
        same transaction it stores new ones. A shard's last chunk stores those of `after`. An
        earlier chunk stores only their LSNs, with a new chunk id. So if another worker applies a
        chunk of the same records meanwhile, the next chunk of this one has no effect.

        The next round is taken from the iterator while the previous one is still being executed.
        On return the last round may not have been executed yet; settle() waits for it.

        Args:
            rounds: If a shard has chunks, the final one, and no other, has is_last set.
            before: The checkpoints that Redis must hold now.
            after: The checkpoints at the end of the rounds, of the same partitions.

        Raises:
            CheckpointMismatch: Redis holds another checkpoint than expected, or did so when it
                executed an earlier round. Chunks of other shards may have taken effect.
        """
        ...

    def settle(self) -> None:
        """Wait until the last round of apply() has been executed.

        Raises:
            CheckpointMismatch: A checkpoint changed before the transaction was executed. The
                chunk had no effect; chunks of other shards may have taken effect.
        """
        ...

    def drop_caches(self) -> None:
        """Remove all timeline lists and the whole tweet cache; checkpoints stay.

        Lists and tweets that exist at the time of the call are gone when it returns.
        """
        ...

    def drop_caches_for_memory(self) -> None:
        """Call drop_caches() because Redis is out of memory, and log the result; never raises."""
        ...

    def remove_histories(self, histories: Collection[str]) -> int:
        """Remove all keys of these histories; return how many there were."""
        ...

    def close(self) -> None:
        """Close the connections and forget the round under way; the next use reconnects."""
        ...


class FollowerStore(Protocol):
    """Postgres, as the fan-out reads it.

    All methods raise psycopg.Error when Postgres does not answer.
    """

    def now(self) -> tuple[Moment, int]:
        """Return the primary's current history and LSN, and its newest relay epoch.

        Raises:
            OtherHistoryError: No history has begun on this server yet.
        """
        ...

    def ended_histories(self) -> list[str]:
        """Return the ids of all histories that ended before the current one."""
        ...

    def followers(
        self, user_ids: Sequence[int], moment: Moment, limit: int
    ) -> Iterator[tuple[int, Followers]]:
        """Yield each user with their followers, read at the moment or later.

        For a user with more followers than the limit, yields limit + 1 of them.

        Raises:
            OtherHistoryError: The primary is at another history than the moment.
        """
        ...

    def follower_pages(self, user_id: int, moment: Moment) -> Iterator[Followers]:
        """Yield all followers of a user in pages, each read at the moment or later.

        Pages may be read at different moments. A user who followed throughout is on exactly one.

        Raises:
            OtherHistoryError: The primary is at another history than the moment.
        """
        ...

    def close(self) -> None:
        """Close the connections; the next use reconnects."""
        ...


class Message(Protocol):
    """The part of confluent_kafka.Message that the worker reads."""

    def topic(self) -> str | None:
        """Return the topic."""
        ...

    def partition(self) -> int | None:
        """Return the partition."""
        ...

    def offset(self) -> int | None:
        """Return the offset."""
        ...

    def leader_epoch(self) -> int | None:
        """Return the epoch of the partition's leader at the fetch, or None if unknown."""
        ...

    def key(self) -> Any:
        """Return the key."""
        ...

    def value(self) -> Any:
        """Return the value."""
        ...

    def headers(self) -> Any:
        """Return the headers as (name, value), or None."""
        ...

    def error(self) -> KafkaError | None:
        """Return the error that this message reports instead of holding a record, or None."""
        ...


OnPartitions = Callable[[set[Partition]], None]


class GroupConsumer(Protocol):
    """A member of the fan-out's consumer group.

    Methods raise confluent_kafka.KafkaException when Kafka refuses them.
    """

    def subscribe(self, on_assign: OnPartitions, on_revoke: OnPartitions) -> None:
        """Join the group. The callbacks are called from within fetch() and discard().

        Args:
            on_assign: Called with all partitions that this member has from now on.
            on_revoke: Called with partitions that this member loses.
        """
        ...

    def fetch(self, timeout_seconds: float) -> Sequence[Message]:
        """Return the next messages; wait for the first one at most this long."""
        ...

    def discard(self, timeout_seconds: float) -> None:
        """Poll once to stay in the group, and drop the message that the poll returns, if any."""
        ...

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Consume exactly these partitions, from these offsets on.

        An offset that Kafka does not have leads to a message with the error _AUTO_OFFSET_RESET.
        Such an error from before the call may still arrive after it; records from before do not.
        """
        ...

    def store_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """Have these offsets committed soon, for tools that show the group's lag."""
        ...

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Return the offset that the next record of each partition will get, as of the last fetch.

        Does not ask Kafka. A partition of which nothing was fetched yet is left out.
        """
        ...

    def take_disconnected(self) -> bool:
        """Return whether a connection to Kafka broke since the last call."""
        ...

    def close(self) -> None:
        """Commit the stored offsets and leave the group."""
        ...


class TopicInspector(Protocol):
    """What Kafka knows about the topic.

    All methods raise confluent_kafka.KafkaException when Kafka does not answer.
    """

    def topic_id(self) -> str:
        """Return the topic's id. A recreated topic of the same name has another id."""
        ...

    def offset_ranges(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return each partition's first offset, and the offset that its next record will get."""
        ...

    def event_ids(self, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return the event id of the record at one offset per partition.

        The id is 0 for an unreadable record. A partition whose record is gone is left out.
        """
        ...


class DeadLetterQueue(Protocol):
    """The topic for records that the worker cannot read."""

    def add(self, message: Message, reason: str) -> None:
        """Copy a record to the queue; only flush() makes sure that the copy is stored.

        Raises:
            KafkaException: The producer is broken; close() it.
        """
        ...

    def flush(self) -> None:
        """Wait until Kafka has stored all copies.

        Raises:
            KafkaException: A copy may be lost; close() the queue and add the records again.
        """
        ...

    def close(self) -> None:
        """Drop the producer and its undelivered records; the next use creates a new producer."""
        ...
