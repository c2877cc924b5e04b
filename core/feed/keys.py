"""The keys in Redis.

Every key begins with the prefix of this installation and the id of a history. So no process reads
values of another history, or of another installation that uses the same Redis.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.feed.sharding import PARTITIONS, Partition, Shard, shard_of
from core.feed.timeline_lists import ListKind, TimelineList


@dataclass(frozen=True)
class Keys:
    """The keys of one history."""

    prefix: str
    """The start of all these keys: the prefix of the installation, and the history."""

    @classmethod
    def of(cls, prefix: str, history: str) -> Keys:
        """Return the keys of a history.

        Args:
            prefix: the setting FANFARE_REDIS_PREFIX.
            history: the id of the history.
        """
        return cls(f"{prefix}{history}:")

    def for_list(self, list_: TimelineList) -> str:
        """Return the key of a timeline list."""
        return f"{self.prefix}{{{list_.shard}}}:{list_.kind}:{list_.user_id}"

    def lists_start(self, kind: ListKind, shard: Shard) -> bytes:
        """Return what the keys of lists of one kind have before the user's id.

        The fan-out needs up to a million keys for one tweet. Creating a TimelineList for each would
        take longer than the rest of its work.

        Args:
            kind: the kind of all the lists.
            shard: the shard of all the users.
        """
        return f"{self.prefix}{{{shard}}}:{kind}:".encode()

    def tweet(self, tweet_id: int) -> str:
        """Return the key of a tweet's entry in the tweet cache."""
        return f"{self.prefix}{{{shard_of(tweet_id)}}}:tweet:{tweet_id}"

    def tweets_start(self, shard: Shard) -> bytes:
        """Return what the keys of tweets in one shard have before the tweet's id."""
        return f"{self.prefix}{{{shard}}}:tweet:".encode()

    def checkpoint(self, shard: Shard, partition: Partition) -> str:
        """Return the key of the checkpoint of a partition in a shard."""
        return f"{self.prefix}{{{shard}}}:progress:{partition}"

    def checkpoints(self, shard: Shard) -> list[str]:
        """Return the keys of the checkpoints of all partitions in a shard, by partition."""
        return [self.checkpoint(shard, Partition(number)) for number in range(PARTITIONS)]

    @property
    def home_lists_pattern(self) -> str:
        """A glob-style pattern of the keys of all home timelines."""
        return f"{self.prefix}{{*}}:{ListKind.HOME}:*"

    @property
    def author_lists_pattern(self) -> str:
        """A glob-style pattern of the keys of all lists of authors' own tweets."""
        return f"{self.prefix}{{*}}:{ListKind.AUTHOR}:*"

    @property
    def tweets_pattern(self) -> str:
        """A glob-style pattern of the keys of all entries in the tweet cache."""
        return f"{self.prefix}{{*}}:tweet:*"
