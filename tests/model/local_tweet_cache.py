"""The read service's process: its one connection to Redis, and its local tweet cache.

See core/storage/redis.py and read_service/local_tweet_cache.py. All readers share the process.
The process parses what Redis sends on the connection in the order of sending, perhaps long after it
was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from model.events import Tweet
from model.redis import Answer, CachedTweet, CacheKey, Deleted, Redis, RedisAwayError, Space
from model.rules import Rules

if TYPE_CHECKING:
    from model.world import Steps


class LocalTweetCache:
    """The tweets that are cached in the process."""

    def __init__(self, rules: Rules, redis: Redis) -> None:
        self.entries: dict[CacheKey, Tweet | Deleted] = {}
        self._rules = rules
        self._redis = redis
        self._connection = redis.connection

    def connect(self) -> int:
        """Return the number of the open connection; raise RedisAwayError if Redis is away."""
        self._redis.check()
        if self._connection != self._redis.connection:
            self._connection = self._redis.connection
            if self._rules.local_cache_cleared_with_connection:
                self.entries.clear()
        return self._connection

    def parse(self, connection: int) -> None:
        """Parse everything sent so far; raise RedisAwayError if the connection broke."""
        if connection != self._redis.connection:
            raise RedisAwayError
        for message in self._redis.sent:
            if isinstance(message, Answer):
                if self._rules.local_cache_put_when_parsed:
                    self.put(message.history, message.entries)
            elif message.entry is None:
                self.entries.clear()
            else:
                self.entries.pop(self._key(*message.entry), None)
        self._redis.sent.clear()

    def known(self, history: str, ids: Sequence[int]) -> dict[int, Tweet | Deleted]:
        """Return the tweets that are cached here."""
        keys = {tweet_id: self._key(history, tweet_id) for tweet_id in ids}
        return {id_: self.entries[key] for id_, key in keys.items() if key in self.entries}

    def read(
        self, history: str, space: Space, ids: Sequence[int]
    ) -> Steps[dict[int, CachedTweet | None]]:
        """Return entries of the tweet cache by a tracked read, and put them here too."""
        connection = self.connect()
        answer = space.read_tracked(ids)
        yield
        self.parse(connection)
        if not self._rules.local_cache_put_when_parsed:
            yield
            self.put(history, answer.entries)
        return dict(answer.entries)

    def put(self, history: str, entries: Mapping[int, CachedTweet | None]) -> None:
        """Put entries here, except leases and absent ones."""
        for tweet_id, entry in entries.items():
            if isinstance(entry, Tweet | Deleted):
                self.entries[self._key(history, tweet_id)] = entry

    def _key(self, history: str, tweet_id: int) -> CacheKey:
        return (history if self._rules.local_cache_by_history else "", tweet_id)
