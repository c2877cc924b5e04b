"""Events of the feed: how to parse one, and which user it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fanfare.events.v1.events_pb2 import FeedEvent
from google.protobuf.message import DecodeError

HISTORY_HEADER = "ce_history"
# The header of a dead letter that was replayed, which is to send it to the feed's topic again. Its
# value is `topic/partition/offset` of the original record.
REPLAYED_HEADER = "replayed"

KafkaRecord = tuple[bytes, str, list[tuple[str, str | bytes | None]]]
"""Value, key and headers of a record that is to be sent."""

# The ids that each kind of event must have. The first is the user whose id is the record's key.
_IDS: dict[str, Callable[[Any], tuple[int, int]]] = {
    "tweet_created": lambda change: ((tweet := change.tweet).user_id, tweet.id),
    "tweet_updated": lambda change: ((tweet := change.tweet).user_id, tweet.id),
    "tweet_deleted": lambda change: (change.user_id, change.tweet_id),
    "user_followed": lambda change: (change.followed_id, change.follower_id),
    "user_unfollowed": lambda change: (change.followed_id, change.follower_id),
    "user_deleted": lambda change: (change.user_id, change.user_id),
}


class UnreadableEventError(ValueError):
    """A record does not hold an event that this version understands; the text says why."""


class Change(NamedTuple):
    """What an event says has changed."""

    kind: str
    """The name of the event's field that is set, as in "tweet_created"."""
    message: Any
    """The value of that field."""
    user_id: int
    """The user whose id is the record's key: the tweet's author, or the followed user."""
    other_id: int
    """The id of the tweet or of the follower; for a deleted user, the user's own id."""


def parse(value: bytes) -> FeedEvent:
    """Return the event that a record's value holds; change_of() accepts it.

    Raises:
        UnreadableEventError: The value is not a FeedEvent, is of an unknown kind, or lacks an id.
    """
    event = decode(value)
    change_of(event)
    return event


def decode(value: bytes) -> FeedEvent:
    """Return the event that a record's value holds, whether or not this version knows its kind.

    Raises:
        UnreadableEventError: The value is not a FeedEvent.
    """
    try:
        return FeedEvent.FromString(value)
    except DecodeError as error:
        raise UnreadableEventError(f"not a FeedEvent: {error}") from error


def change_of(event: FeedEvent) -> Change:
    """Return what an event says has changed.

    Raises:
        UnreadableEventError: The event is of an unknown kind, or lacks an id.
    """
    kind = event.WhichOneof("event")
    if kind is None:
        raise UnreadableEventError("unknown kind of event")
    message = getattr(event, kind)
    user_id, other_id = _IDS[kind](message)
    if user_id <= 0 or other_id <= 0:
        raise UnreadableEventError(f"{kind} event without its ids")
    return Change(kind, message, user_id, other_id)
