"""Events of the feed: how to parse one, and which user it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanfare.events.v1.events_pb2 import FeedEvent
from google.protobuf.message import DecodeError

# The header of a dead letter that was replayed, which is to send it to the feed's topic again. Its
# value is `topic/partition/offset` of the original record.
REPLAYED_HEADER = "replayed"

# The ids that each kind of event must have. The first is the user whose id is the record's key.
_IDS: dict[str, Callable[[Any], tuple[int, ...]]] = {
    "tweet_created": lambda change: (change.tweet.user_id, change.tweet.id),
    "tweet_updated": lambda change: (change.tweet.user_id, change.tweet.id),
    "tweet_deleted": lambda change: (change.user_id, change.tweet_id),
    "user_followed": lambda change: (change.followed_id, change.follower_id),
    "user_unfollowed": lambda change: (change.followed_id, change.follower_id),
    "user_deleted": lambda change: (change.user_id,),
}


class UnreadableEventError(ValueError):
    """A record does not hold an event that this version understands; the text says why."""


def parse(value: bytes) -> FeedEvent:
    """Return the event that a record's value holds.

    Raises:
        UnreadableEventError: The value is not a FeedEvent, is of an unknown kind, or lacks an id.
    """
    try:
        event = FeedEvent.FromString(value)
    except DecodeError as error:
        raise UnreadableEventError(f"not a FeedEvent: {error}") from error
    kind = event.WhichOneof("event")
    if kind is None:
        raise UnreadableEventError("unknown kind of event")
    if min(_IDS[kind](getattr(event, kind))) <= 0:
        raise UnreadableEventError(f"{kind} event without its ids")
    return event


def user_of(event: FeedEvent) -> int:
    """Return the user whose id is the record's key: the tweet's author, or the followed user."""
    kind = event.WhichOneof("event") or ""
    return _IDS[kind](getattr(event, kind))[0]
