"""The read service's process: its one connection to Redis, and the tweets and lists that it keeps.

See core/storage/redis.py, read_service/local_tweet_cache.py and read_service/local_timelines.py.
All readers share the process. The process parses what Redis sends on the connection in the order of
sending, perhaps long after it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from model.events import Tweet
from model.redis import (
    Answer,
    CachedTweet,
    CacheKey,
    Changed,
    Deleted,
    Head,
    ListKey,
    Message,
    Pong,
    Redis,
    RedisAwayError,
    Reply,
    Space,
)
from model.rules import Rules

if TYPE_CHECKING:
    from model.world import Steps


class LocalCache:
    """The tweets, and the first elements of lists, that are kept in the process."""

    def __init__(self, rules: Rules, redis: Redis) -> None:
        self.entries: dict[CacheKey, Tweet | Deleted] = {}
        self.heads: dict[tuple[str, ListKey], Head] = {}
        self.listener: Callable[[Message], None] | None = None
        """Gets each message too, when it is parsed: the caches of the production code."""
        self._rules = rules
        self._redis = redis
        self._connection = redis.connection

    def connect(self) -> int:
        """Return the number of the open connection; raise RedisAwayError if Redis is away."""
        self._redis.check()
        if self._connection != self._redis.connection:
            self._connection = self._redis.connection
            if self._rules.local_cache_cleared_with_connection:
                self._receive(Changed(None))
        return self._connection

    def parse(self, connection: int, until: Message | None = None) -> None:
        """Parse what Redis has sent; raise RedisAwayError if the connection broke.

        Args:
            connection: the connection on which the caller waits.
            until: the last message to parse, if it is not parsed yet; None for all.
        """
        if connection != self._redis.connection:
            raise RedisAwayError
        sent = self._redis.sent
        if until is not None and until not in sent:
            return
        while sent:
            message = sent.pop(0)
            self._receive(message)
            if message is until:
                return

    def barrier(self) -> Steps[None]:
        """Wait for the reply to a PING."""
        connection = self.connect()
        pong = Pong()
        earlier = [message for message in self._redis.sent if isinstance(message, Pong)]
        if self._rules.barrier_sent_after_call or not earlier:
            self._redis.sent.append(pong)
        else:
            pong = earlier[0]
        yield
        self.parse(connection, pong)

    def known(self, history: str, ids: Sequence[int]) -> dict[int, Tweet | Deleted]:
        """Return the tweets that are cached here."""
        keys = {tweet_id: self._key(history, tweet_id) for tweet_id in ids}
        return {id_: self.entries[key] for id_, key in keys.items() if key in self.entries}

    def head(self, history: str, key: ListKey, length: int) -> Head | None:
        """Return the first elements of a list, if at least so many were asked for."""
        head = self.heads.get((history, key))
        return head if head is not None and head.length >= length else None

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

    def _receive(self, message: Message) -> None:
        match message:
            case Answer():
                if self._rules.local_cache_put_when_parsed:
                    self.put(message.history, message.entries)
            case Head():
                self.heads[message.history, message.key] = message
            case Reply():
                message.parsed()
            case Changed(None):
                self.entries.clear()
                self.heads.clear()
            case Changed((history, int(tweet_id))):
                self.entries.pop(self._key(history, tweet_id), None)
            case Changed((history, ListKey() as key)):
                self.heads.pop((history, key), None)
        if self.listener is not None:
            self.listener(message)

    def _key(self, history: str, tweet_id: int) -> CacheKey:
        return (history if self._rules.local_cache_by_history else "", tweet_id)
