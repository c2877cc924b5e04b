"""Events as the relay stamps them, for tests of the worker."""

from __future__ import annotations

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from helpers.fakes.worker_postgres import HISTORY


def stamped(event: pb.FeedEvent, event_id: int, epoch: int = 1, lsn: int = 0) -> pb.FeedEvent:
    """Return the event with the relay's stamps."""
    stamp = pb.FeedEvent(event_id=event_id, relay_epoch=epoch, wal_position=lsn, history=HISTORY)
    stamp.MergeFrom(event)
    return stamp


def created(tweet_id: int, author: int, *, epoch: int = 1, lsn: int = 0) -> pb.FeedEvent:
    """Return the event of a new tweet; its event id is the tweet's id."""
    tweet = pb.TweetCreated(tweet=Tweet(id=tweet_id, user_id=author))
    return stamped(pb.FeedEvent(tweet_created=tweet), tweet_id, epoch, lsn)


def updated(tweet_id: int, author: int, version: int, content: str) -> pb.FeedEvent:
    """Return the event of a tweet's new text."""
    tweet = Tweet(id=tweet_id, user_id=author, content=content)
    change = pb.TweetUpdated(tweet=tweet, version=version)
    return stamped(pb.FeedEvent(tweet_updated=change), 10_000 + tweet_id)


def followed(follower: int, author: int, event_id: int = 1) -> pb.FeedEvent:
    """Return the event of a follow."""
    edge = pb.UserFollowed(follower_id=follower, followed_id=author)
    return stamped(pb.FeedEvent(user_followed=edge), event_id)


def unfollowed(follower: int, author: int, event_id: int = 1) -> pb.FeedEvent:
    """Return the event of an unfollow."""
    edge = pb.UserUnfollowed(follower_id=follower, followed_id=author)
    return stamped(pb.FeedEvent(user_unfollowed=edge), event_id)
