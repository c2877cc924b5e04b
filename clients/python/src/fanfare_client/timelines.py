"""The tweets that a watch of a home timeline holds; without I/O."""

from __future__ import annotations

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import WatchHomeTimelineResponse


class WatchedTimeline:
    """The newest tweets of a home timeline, as the events of a watch describe them."""

    def __init__(self) -> None:
        """Start with no tweets."""
        self._tweets: dict[int, Tweet] = {}

    def apply(self, event: WatchHomeTimelineResponse) -> None:
        """Change the tweets as an event says. Events that are repeated change nothing."""
        kind = event.WhichOneof("event")
        if kind == "tweet":
            self._tweets[event.tweet.id] = event.tweet
        elif kind == "removed_tweet_id":
            self._tweets.pop(event.removed_tweet_id, None)
        elif kind == "reset":
            self._tweets.clear()

    def clear(self) -> None:
        """Take out all tweets."""
        self._tweets.clear()

    @property
    def tweets(self) -> list[Tweet]:
        """The tweets, newest first."""
        return sorted(self._tweets.values(), key=lambda tweet: tweet.id, reverse=True)
