"""Tweets, and the events that report changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

PARTITIONS = 2
SHARDS = 2


class Tweet(NamedTuple):
    """A tweet; its text is a new one in each version, and in each history that has the version."""

    id: int
    author: int
    version: int = 1
    text: int = 0


class Kind(Enum):
    """The kinds of events."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    FOLLOWED = "followed"
    UNFOLLOWED = "unfollowed"
    USER_DELETED = "user deleted"


@dataclass(frozen=True)
class Event:
    """A change, as a command enqueues it."""

    kind: Kind
    user: int
    """The author, or the followed user: the key, by which Kafka's partition is chosen."""
    tweet: Tweet | None = None
    follower: int = 0
    pulled: bool = False
    became_pulled: bool = False

    @property
    def partition(self) -> int:
        """Kafka's partition of the event."""
        return self.user % PARTITIONS

    def __str__(self) -> str:
        if self.tweet is not None:
            how = " became pulled" if self.became_pulled else " pulled" if self.pulled else ""
            tweet = f"t{self.tweet.id}v{self.tweet.version}"
            return f"<{self.kind.value} {tweet} by u{self.user}{how}>"
        if self.follower:
            return f"<u{self.follower} {self.kind.value} u{self.user}>"
        return f"<{self.kind.value} u{self.user}>"
