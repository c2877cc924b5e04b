"""The events that commands enqueue in the outbox."""

from __future__ import annotations

from dataclasses import dataclass

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb

from core.feed.events import change_of
from core.rpc.messages import delimited, field_tag

_CREATED_FIELD = field_tag(pb.FeedEvent.TWEET_CREATED_FIELD_NUMBER)
_TWEET_FIELD = field_tag(pb.TweetCreated.TWEET_FIELD_NUMBER)

TWEET_CREATED = "tweet.created"


@dataclass(frozen=True)
class OutboxEvent:
    """An event to be enqueued."""

    key: int
    """The key of the Kafka record, a user id: that of the author, followed or deleted user."""
    type: str
    """The CloudEvents type, such as "tweet.created"."""
    payload: bytes
    """A serialised FeedEvent, without the fields that the relay adds."""


def _event(type_: str, event: pb.FeedEvent) -> OutboxEvent:
    return OutboxEvent(change_of(event).user_id, type_, event.SerializeToString())


def tweet_created(tweet: Tweet, *, pulled: bool, became_pulled: bool) -> OutboxEvent:
    """Return the event of a tweet's creation.

    Args:
        tweet: the new tweet.
        pulled: whether readers pull the tweet from the author's list; otherwise workers push it.
        became_pulled: whether this transaction was the one that made the author a pull author.
    """
    # Assembled from bytes: as nested messages, the tweet would be copied at each level.
    mode = pb.TweetCreated(pulled=pulled, became_pulled=became_pulled).SerializeToString()
    created = _TWEET_FIELD + delimited(tweet.SerializeToString()) + mode
    return OutboxEvent(tweet.user_id, TWEET_CREATED, _CREATED_FIELD + delimited(created))


def tweet_updated(tweet: Tweet, version: int) -> OutboxEvent:
    """Return the event of a tweet's update; version is the one that the update made."""
    event = pb.FeedEvent(tweet_updated=pb.TweetUpdated(tweet=tweet, version=version))
    return _event("tweet.updated", event)


def tweet_deleted(tweet_id: int, user_id: int) -> OutboxEvent:
    """Return the event of a tweet's deletion."""
    event = pb.FeedEvent(tweet_deleted=pb.TweetDeleted(tweet_id=tweet_id, user_id=user_id))
    return _event("tweet.deleted", event)


def user_followed(follower_id: int, followed_id: int) -> OutboxEvent:
    """Return the event of a new follow.

    Its key is the followed user, so that it stays in order with that user's tweets.
    """
    change = pb.UserFollowed(follower_id=follower_id, followed_id=followed_id)
    return _event("user.followed", pb.FeedEvent(user_followed=change))


def user_unfollowed(follower_id: int, followed_id: int) -> OutboxEvent:
    """Return the event of an unfollow; its key is the followed user, as for a new follow."""
    change = pb.UserUnfollowed(follower_id=follower_id, followed_id=followed_id)
    return _event("user.unfollowed", pb.FeedEvent(user_unfollowed=change))


def user_deleted(user_id: int) -> OutboxEvent:
    """Return the event of a user's deletion."""
    event = pb.FeedEvent(user_deleted=pb.UserDeleted(user_id=user_id))
    return _event("user.deleted", event)
