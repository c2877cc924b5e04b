"""The tweet cache in Redis; what is read from it is remembered by the local tweet cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.feed import tweet_cache
from core.feed.sharding import shard_of
from core.runtime.metrics import METRICS, Metric
from core.storage.redis_pipeline import TRACK_NEXT_COMMAND, Command
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
        keys = map(self._connection.keys.tweet, ids)
        lease = tweet_cache.encode_lease(fill_lease)
        command: Command = ("EVAL", tweet_cache.LEASE, len(ids), *keys, lease, FILL_LEASE_SECONDS)
        shards = set(map(shard_of, ids))
        (answer,), applied = await self._connection.ask_with_applied([command], shards)
        taken = [id_ for id_, is_taken in zip(ids, answer, strict=True) if is_taken]
        return Leased(taken, applied)

    async def fill(self, values: Mapping[int, bytes], fill_lease: str) -> None:
        """Store the values of tweets whose fill leases are still held."""
        keys = map(self._connection.keys.tweet, values)
        lease, ttl = tweet_cache.encode_lease(fill_lease), self._ttl_seconds
        command: Command = (
            "EVAL",
            tweet_cache.FILL,
            len(values),
            *keys,
            lease,
            ttl,
            *values.values(),
        )
        (held,) = await self._connection.ask([command])
        METRICS.add(Metric.FILL_LEASE_LOST, len(values) - held)
        METRICS.add(Metric.TWEET_FILLED, held)
