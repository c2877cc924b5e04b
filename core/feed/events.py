"""Reads the events of the feed from Kafka records."""

from __future__ import annotations

from collections.abc import Callable

from fanfare.events.v1.events_pb2 import FeedEvent
from google.protobuf.message import DecodeError

# Marks a record that `fanfare dlq` has sent again; the value says where the record was at first.
REPLAYED_HEADER = "replayed"

# The ids in each kind of event. The first one is the user whose id is the key of the record.
_IDS: dict[str, Callable[[FeedEvent], tuple[int, ...]]] = {
    "tweet_created": lambda e: (e.tweet_created.tweet.user_id, e.tweet_created.tweet.id),
    "tweet_updated": lambda e: (e.tweet_updated.tweet.user_id, e.tweet_updated.tweet.id),
    "tweet_deleted": lambda e: (e.tweet_deleted.user_id, e.tweet_deleted.tweet_id),
    "user_followed": lambda e: (e.user_followed.followed_id, e.user_followed.follower_id),
    "user_unfollowed": lambda e: (e.user_unfollowed.followed_id, e.user_unfollowed.follower_id),
    "user_deleted": lambda e: (e.user_deleted.user_id,),
}


class UnreadableEventError(ValueError):
    """A record is not an event that this version of Fanfare can read; the message says why."""


def parse(value: bytes) -> FeedEvent:
    """Return the event in the value of a record.

    Raises:
        UnreadableEventError: the value is not an event of a known kind, or lacks an id.
    """
    try:
        event = FeedEvent.FromString(value)
    except DecodeError as error:
        raise UnreadableEventError(f"not a FeedEvent: {error}") from error
    kind = event.WhichOneof("event")
    if kind is None:
        raise UnreadableEventError("unknown kind of event")
    if min(_IDS[kind](event)) <= 0:
        raise UnreadableEventError(f"{kind} event without a required id")
    return event


def user_of(event: FeedEvent) -> int:
    """Return the user whose id is the key of the event's record: its author, or the followed."""
    return _IDS[event.WhichOneof("event") or ""](event)[0]
