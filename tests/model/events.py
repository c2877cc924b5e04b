"""Tweets, and the events that report changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

PARTITIONS = 2
SHARDS = 2


class Tweet(NamedTuple):
    """A tweet. Each version has another text, also if two histories have the same version."""

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
    """The author, or the followed user. This is the key that decides the partition in Kafka."""
    tweet: Tweet | None = None
    follower: int = 0
    pulled: bool = False
    became_pulled: bool = False

    @property
    def partition(self) -> int:
        """The partition in Kafka to which the event is sent."""
        return self.user % PARTITIONS

    def __str__(self) -> str:
        if self.tweet is not None:
            how = " became pulled" if self.became_pulled else " pulled" if self.pulled else ""
            tweet = f"t{self.tweet.id}v{self.tweet.version}"
            return f"<{self.kind.value} {tweet} by u{self.user}{how}>"
        if self.follower:
            return f"<u{self.follower} {self.kind.value} u{self.user}>"
        return f"<{self.kind.value} u{self.user}>"
