"""The read service's process: its one connection to Redis, and the bodies that it keeps.

See core/storage/redis.py and read_service/local_tweet_cache.py. All readers share the process.
What Redis sends on the connection is parsed in the order of sending, and perhaps long after it
was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from model.events import Tweet
from model.redis import Answer, Body, BodyKey, Deleted, Redis, RedisAwayError, Space
from model.rules import Rules

if TYPE_CHECKING:
    from model.world import Steps


class HotBodies:
    """The bodies of tweets in the process."""

    def __init__(self, rules: Rules, redis: Redis) -> None:
        self.bodies: dict[BodyKey, Tweet | Deleted] = {}
        self._rules = rules
        self._redis = redis
        self._connection = redis.connection

    def connect(self) -> int:
        """Return which connection asks now; raise RedisAwayError if Redis is away."""
        self._redis.check()
        if self._connection != self._redis.connection:
            self._connection = self._redis.connection
            if self._rules.hot_forgotten_with_connection:
                self.bodies.clear()
        return self._connection

    def parse(self, connection: int) -> None:
        """Parse what was sent until now; raise RedisAwayError if the connection has broken."""
        if connection != self._redis.connection:
            raise RedisAwayError
        for message in self._redis.sent:
            if isinstance(message, Answer):
                if self._rules.hot_kept_when_parsed:
                    self.keep(message.history, message.bodies)
            elif message.body is None:
                self.bodies.clear()
            else:
                self.bodies.pop(self._key(*message.body), None)
        self._redis.sent.clear()

    def known(self, history: str, ids: Sequence[int]) -> dict[int, Tweet | Deleted]:
        """Return those of the bodies that are here."""
        keys = {tweet_id: self._key(history, tweet_id) for tweet_id in ids}
        return {id_: self.bodies[key] for id_, key in keys.items() if key in self.bodies}

    def read(self, history: str, space: Space, ids: Sequence[int]) -> Steps[dict[int, Body | None]]:
        """Return bodies by a tracked read, and keep them."""
        connection = self.connect()
        answer = space.read_tracked(ids)
        yield
        self.parse(connection)
        if not self._rules.hot_kept_when_parsed:
            yield
            self.keep(history, answer.bodies)
        return dict(answer.bodies)

    def keep(self, history: str, bodies: Mapping[int, Body | None]) -> None:
        """Keep bodies, and no leases."""
        for tweet_id, body in bodies.items():
            if isinstance(body, Tweet | Deleted):
                self.bodies[self._key(history, tweet_id)] = body

    def _key(self, history: str, tweet_id: int) -> BodyKey:
        return (history if self._rules.hot_by_history else "", tweet_id)
