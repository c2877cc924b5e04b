"""The local tweet cache: tweets kept in the process until Redis says that they have changed.

A tweet enters only from the answer to a tracked read, at the instant at which it is parsed. Redis
announces a later change of the tweet after that answer, on the same connection, and the tweet is
then forgotten. So a tweet in here is at least as new as every answer of Redis parsed so far.

The JSON of a tweet follows from its bytes, so it is right whenever it was printed. It is printed
when REST first needs it, and forgotten with the tweet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import GetTweetResponse

from core.feed.tweet_cache import decode_entry, is_lease, tweet_id_of
from core.rpc.messages import delimited, field_tag
from gateway.transcode import printer
from read_service.protocols import TweetPage

# A tweet takes about 400 bytes, and 600 more if its JSON is here, so this is at most about 100 MB.
MAX_TWEETS = 100_000
# A tag before the bytes makes a whole message of them.
_TWEET = field_tag(GetTweetResponse.TWEET_FIELD_NUMBER)
print_tweet = printer(Tweet.DESCRIPTOR)


class LocalTweetCache:
    """Serialised tweets by id, each preceded by its length; None for a deleted tweet."""

    def __init__(self, limit: int) -> None:
        """Keep at most limit tweets; those that have been here longest are dropped first."""
        self._tweets: dict[int, bytes | None] = {}
        # By the bytes of the tweet, whose hash Python computes once. Has only tweets that are here.
        self._json: dict[bytes, bytes] = {}
        self._limit = limit
        self.changes = 0
        """How often Redis has reported changes; what was made of tweets before may be old."""
        self.hits = 0
        """How many tweets were looked up and found, to put pages together."""
        self.misses = 0
        """How many were not found."""

    @property
    def count(self) -> int:
        """How many tweets are here."""
        return len(self._tweets)

    def missing(self, ids: Collection[int]) -> list[int]:
        """Return those of the ids that are not here."""
        missing = [id_ for id_ in ids if id_ not in self._tweets]
        self.misses += len(missing)
        self.hits += len(ids) - len(missing)
        return missing

    def page(self, ids: Sequence[int]) -> TweetPage | None:
        """Return the page of these tweets; None if one is not here, or is deleted."""
        known = self._tweets.get
        tweets = [tweet for id_ in ids if (tweet := known(id_)) is not None]
        return TweetPage(ids, tweets) if len(tweets) == len(ids) else None

    def known(self, ids: Sequence[int]) -> dict[int, bytes | None]:
        """Return those of the tweets that are here, and None for those that are deleted."""
        known = {id_: self._tweets[id_] for id_ in ids if id_ in self._tweets}
        self.hits += len(known)
        self.misses += len(ids) - len(known)
        return known

    def remember(self, ids: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Remember what a tracked read of these tweets returned, but no absent ones or leases."""
        for id_, value in zip(ids, values, strict=True):
            if value is not None and not is_lease(value):
                tweet = decode_entry(value)
                self._drop(id_)
                self._tweets[id_] = None if tweet is None else delimited(tweet)
        while len(self._tweets) > self._limit:
            self._drop(next(iter(self._tweets)))

    def forget(self, keys: Sequence[bytes] | None) -> None:
        """Forget the tweets with these Redis keys; None forgets all."""
        self.changes += 1
        if keys is None:
            self._tweets.clear()
            self._json.clear()
            return
        for key in keys:
            self._drop(tweet_id_of(key))

    def json(self, ids: Sequence[int], tweets: Sequence[bytes]) -> list[bytes]:
        """Return tweets as JSON, in UTF-8.

        Args:
            ids: the ids of the tweets.
            tweets: serialised tweets, each preceded by its length. They need not be here.
        """
        known = self._json.get
        return [
            known(tweet) or self._printed(id_, tweet)
            for id_, tweet in zip(ids, tweets, strict=True)
        ]

    def _printed(self, id_: int, tweet: bytes) -> bytes:
        json = print_tweet(GetTweetResponse.FromString(_TWEET + tweet).tweet).encode()
        if self._tweets.get(id_) == tweet:
            self._json[tweet] = json
        return json

    def _drop(self, id_: int) -> None:
        tweet = self._tweets.pop(id_, None)
        if tweet is not None:
            self._json.pop(tweet, None)
