"""The Redis commands for single records: what happens to the tweet cache and to whole lists.

A replayed record may be older than what is cached. It therefore removes what it concerns instead
of setting it, and the next reader takes the current state from Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.feed import tweet_cache
from core.feed.keys import Keys
from core.feed.sharding import shard_of
from core.feed.timeline_lists import TimelineList, author_list, home_list
from core.storage.resp import pack, pack_arguments, pack_set
from fanout_worker.chunks import ALL_SHARDS
from fanout_worker.records import Record

# The kinds of records that are about a tweet.
TWEET_KINDS = frozenset({"tweet_created", "tweet_updated", "tweet_deleted"})


class TweetCacheCommands:
    """Packs the commands that keep the tweet cache up to date."""

    def __init__(self, keys: Keys, ttl_seconds: int) -> None:
        """Pack for these keys; ttl_seconds is how long a tweet stays in the tweet cache."""
        self._key_starts = [keys.tweets_start(shard) for shard in ALL_SHARDS]
        self._ttl = b"%d" % ttl_seconds
        self._options = pack_arguments([b"NX", b"EX", self._ttl])

    def pack(self, record: Record) -> bytes:
        """Return the packed command for a record that is about a tweet."""
        key = b"%b%d" % (self._key_starts[shard_of(record.other_id)], record.other_id)
        if record.is_replayed:
            return unlink(key)
        if record.kind == "tweet_created":
            # The first version never replaces anything, so SET NX is enough. If the key holds a
            # fill lease, its holder reads this version or a newer one.
            return pack_set(key, tweet_cache.encode_entry(1, record.tweet), self._options)
        value = tweet_cache.DELETED
        if record.kind == "tweet_updated":
            value = tweet_cache.encode_entry(record.version, record.tweet)
        return pack(b"EVAL", tweet_cache.SET_IF_NEWER.encode(), b"1", key, value, self._ttl)


def dropped_lists(records: Iterable[Record]) -> dict[TimelineList, None]:
    """Return the lists that the records make wrong. They are dropped, and rebuilt when next read.

    The lists of an author's followers are not among them; see rounds.py.
    """
    dropped: dict[TimelineList, None] = {}
    for record in records:
        match record.kind:
            case "tweet_created" if record.is_replayed:
                dropped[author_list(record.user_id)] = None
            case "user_followed" | "user_unfollowed":
                dropped[home_list(record.other_id)] = None
            case "user_deleted":
                dropped[home_list(record.user_id)] = None
                dropped[author_list(record.user_id)] = None
    return dropped


def unlink(key: bytes) -> bytes:
    """Return the packed command that removes a key."""
    return pack(b"UNLINK", key)
