"""The keys in Redis: all begin with the prefix of this installation and the history they belong to.

So what was kept for another history, or by another installation, is never read, whatever else this
Redis was used for or restored from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.feed.sharding import PARTITIONS, shard_of
from core.feed.timeline_lists import ListKind, TimelineList


@dataclass(frozen=True)
class Keys:
    """The keys of one history."""

    start: str
    """What they all begin with."""

    @classmethod
    def of(cls, prefix: str, history: str) -> Keys:
        """Return the keys of a history; prefix: FANFARE_REDIS_PREFIX."""
        return cls(f"{prefix}{history}:")

    def for_list(self, list_: TimelineList) -> str:
        """Return the key of a timeline list."""
        return f"{self.start}{{{list_.shard}}}:{list_.kind}:{list_.user_id}"

    def for_lists(self, kind: ListKind, shard: int, user_ids: Iterable[int]) -> list[bytes]:
        """Return the keys of lists of one kind, of users who are all in the shard.

        The fan-out makes a million of them for one tweet, and an object for each list would take
        most of its time.
        """
        start = f"{self.start}{{{shard}}}:{kind}:".encode()
        return [b"%b%d" % (start, user_id) for user_id in user_ids]

    def tweet(self, tweet_id: int) -> str:
        """Return the key of a tweet's body."""
        return f"{self.start}{{{shard_of(tweet_id)}}}:tweet:{tweet_id}"

    def checkpoint(self, shard: int, partition: int) -> str:
        """Return the key of a shard's progress in a partition."""
        return f"{self.start}{{{shard}}}:progress:{partition}"

    def checkpoints(self, shard: int) -> list[str]:
        """Return the keys of a shard's progress in all partitions, in their order."""
        return [self.checkpoint(shard, partition) for partition in range(PARTITIONS)]

    @property
    def timelines(self) -> str:
        """A pattern that matches all home timelines."""
        return f"{self.start}{{*}}:timeline:*"

    @property
    def authors(self) -> str:
        """A pattern that matches all lists of authors' own tweets."""
        return f"{self.start}{{*}}:author:*"

    @property
    def tweets(self) -> str:
        """A pattern that matches all tweet bodies."""
        return f"{self.start}{{*}}:tweet:*"
