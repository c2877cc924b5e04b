"""The local tweet cache: tweets kept in the process until Redis says that they have changed.

A tweet enters only from the answer to a tracked read, at the instant at which it is parsed. Redis
announces a later change of the tweet after that answer, on the same connection, and the tweet is
then forgotten. So a tweet in here is at least as new as every answer of Redis parsed so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.feed.tweet_cache import decode_entry, is_lease, tweet_id_of
from core.rpc.messages import delimited
from read_service.protocols import TweetPage

# A tweet takes about 300 bytes, so this is about 30 MB.
MAX_TWEETS = 100_000


class LocalTweetCache:
    """Serialised tweets by id, each preceded by its length; None for a deleted tweet."""

    def __init__(self, limit: int) -> None:
        """Keep at most limit tweets; those that have been here longest are dropped first."""
        self._tweets: dict[int, bytes | None] = {}
        self._limit = limit
        self.changes = 0
        """How often Redis has reported changes; what was made of tweets before may be old."""

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Return those of the ids that are not here."""
        return [id_ for id_ in ids if id_ not in self._tweets]

    def page(self, ids: Sequence[int]) -> TweetPage | None:
        """Return the page of these tweets; None if one is not here, or is deleted."""
        known = self._tweets.get
        tweets = [tweet for id_ in ids if (tweet := known(id_)) is not None]
        return TweetPage(ids, tweets) if len(tweets) == len(ids) else None

    def known(self, ids: Iterable[int]) -> dict[int, bytes | None]:
        """Return those of the tweets that are here, and None for those that are deleted."""
        return {id_: self._tweets[id_] for id_ in ids if id_ in self._tweets}

    def remember(self, ids: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Remember what a tracked read of these tweets returned, but no absent ones or leases."""
        for id_, value in zip(ids, values, strict=True):
            if value is not None and not is_lease(value):
                tweet = decode_entry(value)
                self._tweets[id_] = None if tweet is None else delimited(tweet)
        while len(self._tweets) > self._limit:
            del self._tweets[next(iter(self._tweets))]

    def forget(self, keys: Sequence[bytes] | None) -> None:
        """Forget the tweets with these Redis keys; None forgets all."""
        self.changes += 1
        if keys is None:
            self._tweets.clear()
            return
        for key in keys:
            self._tweets.pop(tweet_id_of(key), None)
