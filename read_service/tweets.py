"""Tweets by id: bodies in Redis, filled from Postgres under a lease."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from fanfare.common.v1.common_pb2 import Tweet

from core.bodies import DELETED, body, is_lease, tweet_of
from read_service.cache import Cache, CacheUnavailableError
from read_service.store import Store


class Tweets:
    """Reads tweets, from Redis where they are there."""

    def __init__(self, cache: Cache, store: Store) -> None:
        self._cache = cache
        self._store = store

    async def get(
        self, ids: Sequence[int], *, issued: bool, token: int | None = None
    ) -> dict[int, Tweet]:
        """Return those of the tweets that exist, by id, as new as the token's position.

        issued: the ids are known to be of tweets that were created once, so those that do not
        exist may be remembered as deleted. Of any other id one must not: it may come yet.
        """
        if token is None:
            try:
                return await self._through_cache(ids, issued=issued)
            except CacheUnavailableError:
                pass
        found = await self._store.tweets(ids, token)
        return {tweet_id: tweet for tweet_id, (_, tweet) in found.items()}

    async def _through_cache(self, ids: Sequence[int], *, issued: bool) -> dict[int, Tweet]:
        tweets: dict[int, Tweet] = {}
        missing: list[int] = []
        for tweet_id, value in zip(ids, await self._cache.bodies(ids), strict=True):
            if value is None or is_lease(value):
                missing.append(tweet_id)
            elif (tweet := tweet_of(value)) is not None:
                tweets[tweet_id] = Tweet.FromString(tweet)
        if missing:
            tweets |= await self._fill(missing, issued=issued)
        return tweets

    async def _fill(self, ids: Sequence[int], *, issued: bool) -> dict[int, Tweet]:
        """Read tweets from Postgres and leave them in Redis, as far as the leases allow.

        The lease comes first, then the position, then a Postgres that has it: whatever changes
        the tweet later takes the lease away, and whatever changed it before is in what is read.
        """
        token = secrets.token_hex(8)
        leased, wal_position = await self._cache.lease_bodies(ids, token)
        found = await self._store.tweets(ids, wal_position=wal_position)
        missing = DELETED if issued and wal_position is not None else b""
        fills = []
        for tweet_id, held in zip(ids, leased, strict=True):
            if held:
                value = missing
                if wal_position is not None and tweet_id in found:
                    version, tweet = found[tweet_id]
                    value = body(version, tweet.SerializeToString())
                fills.append((tweet_id, value))
        if fills:
            await self._cache.fill_bodies(fills, token)
        return {tweet_id: tweet for tweet_id, (_, tweet) in found.items()}
