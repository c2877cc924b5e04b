"""The events of the feed: reading them, and whose they are."""

from __future__ import annotations

from collections.abc import Callable

from fanfare.events.v1.events_pb2 import FeedEvent
from google.protobuf.message import DecodeError

# The header of a dead letter that was sent again; its value is the place it had first.
REPLAYED_HEADER = "replayed"

# By kind, the ids that an event names; the first is the user whose id is the record's key.
_IDS: dict[str, Callable[[FeedEvent], tuple[int, ...]]] = {
    "tweet_created": lambda e: (e.tweet_created.tweet.user_id, e.tweet_created.tweet.id),
    "tweet_updated": lambda e: (e.tweet_updated.tweet.user_id, e.tweet_updated.tweet.id),
    "tweet_deleted": lambda e: (e.tweet_deleted.user_id, e.tweet_deleted.tweet_id),
    "user_followed": lambda e: (e.user_followed.followed_id, e.user_followed.follower_id),
    "user_unfollowed": lambda e: (e.user_unfollowed.followed_id, e.user_unfollowed.follower_id),
    "user_deleted": lambda e: (e.user_deleted.user_id,),
}


class UnreadableEventError(ValueError):
    """A record is no event that this version knows; the text says why."""


def parse(value: bytes) -> FeedEvent:
    """Return the event in a record; raises UnreadableEventError."""
    try:
        event = FeedEvent.FromString(value)
    except DecodeError as error:
        raise UnreadableEventError(f"not a FeedEvent: {error}") from error
    kind = event.WhichOneof("event")
    if kind is None:
        raise UnreadableEventError("an event of no known kind")
    if min(_IDS[kind](event)) <= 0:
        raise UnreadableEventError(f"a {kind} without the ids it must have")
    return event


def user_of(event: FeedEvent) -> int:
    """Return the user whose decimal id is the record's key: the author, or the followed."""
    return _IDS[event.WhichOneof("event") or ""](event)[0]
