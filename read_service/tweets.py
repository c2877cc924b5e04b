"""Tweets by id: bodies in Redis, filled from Postgres under a lease."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from core.feed.history import Moment, OtherHistoryError
from core.feed.tweet_cache import DELETED, decode_entry, encode_entry, is_lease
from core.rpc.messages import delimited
from read_service.cache import Cache, CacheUnavailableError
from read_service.store import Item, Store


class Tweets:
    """Reads tweets, from Redis where they are there."""

    def __init__(self, cache: Cache, store: Store) -> None:
        self._cache = cache
        self._store = store

    async def get(
        self, ids: Sequence[int], *, listed: bool, token: Moment | None = None
    ) -> dict[int, bytes]:
        """Return those of the tweets that exist, by id, delimited, as new as the token's moment.

        listed: the ids were read from a list in Redis a moment ago. So they are of tweets that
        were created once, and those that do not exist may be remembered as deleted, while any
        other id may come yet; and what is kept in process is as new as the list.
        """
        if token is None:
            try:
                return await self._through_cache(ids, listed=listed)
            except (CacheUnavailableError, OtherHistoryError):
                pass
        found = await self._store.tweets(ids, token)
        return {id_: delimited(tweet) for id_, (_, tweet) in found.items()}

    async def pages(self, pages: Sequence[Sequence[int]]) -> list[list[Item] | None]:
        """Return pages of listed ids with their tweets.

        None for a page of which a tweet is deleted or not in Redis. Raises CacheUnavailableError.
        """
        hot = self._cache.hot
        unknown = hot.unknown({id_ for page in pages for id_ in page})
        if unknown:
            await self._cache.bodies(unknown)
        return [hot.page(page) for page in pages]

    async def _through_cache(self, ids: Sequence[int], *, listed: bool) -> dict[int, bytes]:
        known = self._cache.hot.known(ids) if listed else {}
        tweets = {id_: tweet for id_, tweet in known.items() if tweet is not None}
        unknown = [id_ for id_ in ids if id_ not in known]
        missing: list[int] = []
        if unknown:
            for id_, value in zip(unknown, await self._cache.bodies(unknown), strict=True):
                if value is None or is_lease(value):
                    missing.append(id_)
                elif (tweet := decode_entry(value)) is not None:
                    tweets[id_] = delimited(tweet)
        if missing:
            tweets |= await self._fill(missing, listed=listed)
        return tweets

    async def _fill(self, ids: Sequence[int], *, listed: bool) -> dict[int, bytes]:
        """Read tweets from Postgres and leave them in Redis, as far as the leases allow.

        The lease comes first, then the moment, then a Postgres that has reached it: what changes
        the tweet later takes the lease away, and what changed it before is in what is read.
        """
        token = secrets.token_hex(8)
        leased, moment = await self._cache.lease_bodies(ids, token)
        found = await self._store.tweets(ids, moment=moment)
        missing = DELETED if listed and moment is not None else b""
        fills = []
        for tweet_id, held in zip(ids, leased, strict=True):
            if held:
                value = missing
                if moment is not None and tweet_id in found:
                    version, tweet = found[tweet_id]
                    value = encode_entry(version, tweet)
                fills.append((tweet_id, value))
        if fills:
            await self._cache.fill_bodies(fills, token)
        return {id_: delimited(tweet) for id_, (_, tweet) in found.items()}
