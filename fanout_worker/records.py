"""Records from Kafka: what a worker takes out of them, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from fanfare.events.v1.events_pb2 import FeedEvent

from core.feed.checkpoints import Checkpoint
from core.feed.events import REPLAYED_HEADER, change_of, decode
from core.feed.history import Lsn
from core.runtime.tracing import TRACEPARENT
from fanout_worker.protocols import Message

# The headers that the worker reads; all others are for other consumers.
_HEADERS = frozenset({REPLAYED_HEADER, TRACEPARENT})


class Record(NamedTuple):
    """What the worker needs of an event, and its place in its partition.

    The fields are taken out of the protobuf message once, because each access to a message costs as
    much as a look-up in a dictionary. The message itself is not kept: a batch of them would take
    several times the memory, and allocating that memory takes as long as parsing.
    """

    offset: int
    event_id: int
    history: str
    is_replayed: bool
    """Whether the record is a dead letter that was sent again, perhaps long after the first time.
    Such a record only drops the cached data that it concerns."""
    epoch: int
    """The epoch of the relay that sent it."""
    lsn: Lsn
    kind: str
    """The name of the event's field that is set, as in "tweet_created"."""
    user_id: int
    """The user whose id is the record's key: the tweet's author, or the followed user."""
    other_id: int
    """The id of the tweet or of the follower; for a deleted user, the user's own id."""
    tweet: bytes = b""
    """The serialised tweet, if it was created or updated."""
    version: int = 1
    """The tweet's version."""
    pulled: bool = False
    """Whether reads merge in a created tweet, so that it is not pushed."""
    became_pulled: bool = False
    """Whether the author became a pull author with a created tweet."""
    traceparent: str = ""
    """The span that published the record, if its command is traced."""

    @classmethod
    def of(
        cls, offset: int, event: FeedEvent, *, is_replayed: bool = False, traceparent: str = ""
    ) -> Self:
        """Return the record of an event.

        Raises:
            UnreadableEventError: The event is of an unknown kind, or lacks an id.
        """
        kind, change, user_id, other_id = change_of(event)
        tweet, version, pulled, became_pulled = b"", 1, False, False
        if kind == "tweet_created":
            tweet = change.tweet.SerializeToString()
            pulled, became_pulled = change.pulled, change.became_pulled
        elif kind == "tweet_updated":
            tweet, version = change.tweet.SerializeToString(), change.version
        return cls(
            offset,
            event.event_id,
            event.history,
            is_replayed,
            event.relay_epoch,
            Lsn(event.wal_position),
            kind,
            user_id,
            other_id,
            tweet,
            version,
            pulled,
            became_pulled,
            traceparent,
        )

    def is_of(self, history: str) -> bool:
        """Return whether the record is of the history, or from a relay that knew no histories."""
        return self.history == history or not self.history


def read_record(message: Message, offset: int) -> Record:
    """Return the record in a message.

    Raises:
        UnreadableEventError: The message does not hold an event.
    """
    # A loop, because dict() takes twice as long.
    is_replayed = False
    traceparent = ""
    for name, value in message.headers() or ():
        if name in _HEADERS:
            if name == REPLAYED_HEADER:
                is_replayed = True
            elif isinstance(value, bytes):
                traceparent = value.decode(errors="replace")
    event = decode(message.value() or b"")
    return Record.of(offset, event, is_replayed=is_replayed, traceparent=traceparent)


def select_effective(records: Sequence[Record], offset: int, epoch: int) -> list[Record]:
    """Return the records that count for a shard, which are those that it must apply.

    Records below the offset have been applied already. Records of a relay that was replaced are
    skipped: they may be out of order, and the new relay has sent the same events again. A replayed
    dead letter comes from no relay, so its epoch says nothing.

    Args:
        records: Records of one partition.
        offset: The offset of the shard's checkpoint.
        epoch: The epoch of the shard's checkpoint.
    """
    effective = []
    for record in records:
        if record.offset < offset:
            continue
        if not record.is_replayed:
            if record.epoch < epoch:
                continue
            epoch = record.epoch
        effective.append(record)
    return effective


def advance(
    checkpoint: Checkpoint, records: Sequence[Record], end: int, last_event_id: int
) -> Checkpoint:
    """Return the checkpoint after all records below an end offset have been applied.

    Args:
        checkpoint: The checkpoint of one shard in a partition.
        records: Records of the partition.
        end: The end offset. A checkpoint beyond it stays as it is.
        last_event_id: The event id of the record before the end; 0 if unknown.
    """
    effective = select_effective(records, checkpoint.offset, checkpoint.epoch)
    return Checkpoint(
        max(checkpoint.offset, end),
        max([checkpoint.lsn, *(record.lsn for record in effective)]),
        max([checkpoint.epoch, *(record.epoch for record in effective if not record.is_replayed)]),
        checkpoint.topic_id,
        last_event_id if end > checkpoint.offset else checkpoint.last_event_id,
        "" if end > checkpoint.offset else checkpoint.chunk_id,
    )
