"""Reads tweets by id from Redis; those that are absent there are filled in from Postgres."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress

from core.feed.history import OtherHistoryError
from core.feed.tweet_cache import DELETED, decode_entry, encode_entry, is_lease
from core.rpc.messages import delimited
from read_service.freshness import ANY, AppliedFreshness, Freshness
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import CacheUnavailableError, TimelineStore, TweetCache, TweetPage


class TweetReader:
    """Reads tweets as serialised messages, each preceded by its length."""

    def __init__(self, cache: TweetCache, local: LocalTweetCache, store: TimelineStore) -> None:
        self._cache = cache
        self._local = local
        self._store = store

    async def tweets(self, ids: Sequence[int], freshness: Freshness = ANY) -> dict[int, bytes]:
        """Return those of the tweets that exist, by id.

        Only Postgres can say whether it is fresh enough, so Redis is read only for ANY.
        """
        if freshness is ANY:
            try:
                return await self._read(ids, is_listed=False)
            except (CacheUnavailableError, OtherHistoryError):
                pass
        return await self._from_postgres(ids, freshness)

    async def listed_tweets(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return those of the tweets that exist, by id; for ids just read from a list in Redis.

        The local tweet cache is at least as new as that list, so it may answer. And each of these
        tweets has existed: if Postgres does not have it, it was deleted, and Redis stores it as
        deleted. A tweet with any other id may still be created.
        """
        known = self._local.known(ids)
        tweets = {id_: tweet for id_, tweet in known.items() if tweet is not None}
        missing = [id_ for id_ in ids if id_ not in known]
        try:
            return tweets | (await self._read(missing, is_listed=True) if missing else {})
        except (CacheUnavailableError, OtherHistoryError):
            return await self._from_postgres(ids, ANY)

    async def listed_pages(self, pages: Sequence[Sequence[int]]) -> list[TweetPage | None]:
        """Return pages of ids that were just read from lists in Redis, with their tweets.

        None stands for a page with a tweet that is deleted or not in Redis.

        Raises:
            CacheUnavailableError: Redis does not answer.
        """
        missing = self._local.missing({id_ for page in pages for id_ in page})
        if missing:
            await self._cache.read(missing)  # the local tweet cache remembers them
        return [self._local.page(page) for page in pages]

    async def _from_postgres(self, ids: Sequence[int], freshness: Freshness) -> dict[int, bytes]:
        found = await self._store.tweets(ids, freshness)
        return {id_: delimited(tweet.message) for id_, tweet in found.items()}

    async def _read(self, ids: Sequence[int], *, is_listed: bool) -> dict[int, bytes]:
        """Return the tweets from Redis, and from Postgres those that are absent there."""
        tweets: dict[int, bytes] = {}
        absent: list[int] = []
        for id_, value in zip(ids, await self._cache.read(ids), strict=True):
            if value is None or is_lease(value):
                absent.append(id_)
            elif (tweet := decode_entry(value)) is not None:
                tweets[id_] = delimited(tweet)
        if absent and not is_listed:
            # Anybody may have made these ids up. Leases are taken only of tweets that exist, so
            # that an id that no tweet has costs Redis nothing more.
            absent = await self._store.existing_tweets(absent, ANY)
        if absent:
            tweets |= await self._fill(absent, is_listed=is_listed)
        return tweets

    async def _fill(self, ids: Sequence[int], *, is_listed: bool) -> dict[int, bytes]:
        """Read tweets from Postgres, and store them in Redis where a fill lease could be taken.

        First the lease is taken, then the applied moment is read, then the tweet from a Postgres
        server that has reached that moment. A change that is applied later takes the lease away. A
        change that was applied earlier is in what Postgres returns. What was read before the lease
        was taken, such as whether the tweet exists, is never stored.
        """
        fill_lease = secrets.token_hex(8)
        leased = await self._cache.take_fill_leases(ids, fill_lease)
        is_storable = leased.applied is not None
        freshness = ANY if leased.applied is None else AppliedFreshness(leased.applied)
        found = await self._store.tweets(ids, freshness)
        if leased.taken:
            no_tweet = DELETED if is_listed and is_storable else b""
            values = dict.fromkeys(leased.taken, no_tweet)
            if is_storable:
                values |= {
                    id_: encode_entry(found[id_].version, found[id_].message)
                    for id_ in leased.taken
                    if id_ in found
                }
            with suppress(CacheUnavailableError):  # what was read is right, stored or not
                await self._cache.fill(values, fill_lease)
        return {id_: delimited(tweet.message) for id_, tweet in found.items()}
