"""Events of the feed: how to parse one, and which user it belongs to."""

from __future__ import annotations

from collections.abc import Callable

from fanfare.events.v1.events_pb2 import FeedEvent
from google.protobuf.message import DecodeError

# The header of a dead letter that was replayed, which is to send it to the feed's topic again. Its
# value is `topic/partition/offset` of the original record.
REPLAYED_HEADER = "replayed"

# The ids that each kind of event must have. The first is the user whose id is the record's key.
_IDS: dict[str, Callable[[FeedEvent], tuple[int, ...]]] = {
    "tweet_created": lambda e: (e.tweet_created.tweet.user_id, e.tweet_created.tweet.id),
    "tweet_updated": lambda e: (e.tweet_updated.tweet.user_id, e.tweet_updated.tweet.id),
    "tweet_deleted": lambda e: (e.tweet_deleted.user_id, e.tweet_deleted.tweet_id),
    "user_followed": lambda e: (e.user_followed.followed_id, e.user_followed.follower_id),
    "user_unfollowed": lambda e: (e.user_unfollowed.followed_id, e.user_unfollowed.follower_id),
    "user_deleted": lambda e: (e.user_deleted.user_id,),
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
    if min(_IDS[kind](event)) <= 0:
        raise UnreadableEventError(f"{kind} event without its ids")
    return event


def user_of(event: FeedEvent) -> int:
    """Return the user whose id is the record's key: the tweet's author, or the followed user."""
    return _IDS[event.WhichOneof("event") or ""](event)[0]
