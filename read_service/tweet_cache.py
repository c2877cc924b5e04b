"""The tweet cache in Redis; what is read from it is remembered by the local tweet cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.feed import tweet_cache
from core.feed.sharding import shard_of
from core.runtime.metrics import METRICS, Metric
from core.storage.redis import TRACK_NEXT_COMMAND, Command
from read_service.cache import CacheConnection
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import Leased

FILL_LEASE_SECONDS = 5


class RedisTweetCache:
    """The `TweetCache` in Redis."""

    def __init__(
        self, connection: CacheConnection, local: LocalTweetCache, ttl_seconds: int
    ) -> None:
        """Use the connection.

        Args:
            connection: to Redis. It must tell the local tweet cache which keys have changed.
            local: remembers what is read.
            ttl_seconds: how long a tweet is kept after it was stored.
        """
        self._connection = connection
        self._local = local
        self._ttl_seconds = ttl_seconds

    async def read(self, ids: Sequence[int]) -> Sequence[bytes | None]:
        """Return the values of tweets, in the order of the ids; None for each that is absent."""
        keys = map(self._connection.keys.tweet, ids)
        _, values = await self._connection.ask(
            [TRACK_NEXT_COMMAND, ("MGET", *keys)],
            lambda answers: self._local.remember(ids, answers[1]),
        )
        found: list[bytes | None] = values
        return found

    async def take_fill_leases(self, ids: Sequence[int], fill_lease: str) -> Leased[int]:
        """Take the fill leases of those tweets that are absent."""
        key = self._connection.keys.tweet
        value = tweet_cache.encode_lease(fill_lease)
        commands: list[Command] = [
            ("SET", key(id_), value, "NX", "EX", FILL_LEASE_SECONDS) for id_ in ids
        ]
        shards = set(map(shard_of, ids))
        answers, applied = await self._connection.ask_with_applied(commands, shards)
        taken = [id_ for id_, answer in zip(ids, answers, strict=True) if answer is not None]
        return Leased(taken, applied)

    async def fill(self, values: Mapping[int, bytes], fill_lease: str) -> None:
        """Store the values of tweets whose fill leases are still held."""
        key = self._connection.keys.tweet
        lease, ttl = tweet_cache.encode_lease(fill_lease), self._ttl_seconds
        answers = await self._connection.ask(
            [
                ("EVAL", tweet_cache.FILL, 1, key(id_), lease, value, ttl)
                for id_, value in values.items()
            ]
        )
        METRICS.add(Metric.FILL_LEASE_LOST, answers.count(0))
        METRICS.add(Metric.TWEET_FILLED, answers.count(1))
