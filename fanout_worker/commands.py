"""The Redis commands for single records: what happens to the tweet cache and to whole lists.

A replayed record may be older than what is cached. It therefore removes what it concerns instead
of setting it, and the next reader takes the current state from Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.feed import tweet_cache
from core.feed.keys import Keys
from core.feed.timeline_lists import TimelineList, author_list, home_list
from core.storage.resp import pack
from fanout_worker.chunks import Commands, PushedLists
from fanout_worker.records import Record


def tweet_cache_command(
    record: Record, keys: Keys, ttl_seconds: int
) -> tuple[int, Commands] | None:
    """Return the id of the record's tweet and the command for its cache entry.

    Returns None for a record that is not about a tweet.
    """
    match record.kind:
        case "tweet_created" | "tweet_updated":
            tweet_id = record.change.tweet.id
        case "tweet_deleted":
            tweet_id = record.change.tweet_id
        case _:
            return None
    key = keys.tweet(tweet_id).encode()
    if record.is_replayed:
        return tweet_id, unlink(key)
    return tweet_id, Commands(_set_tweet(key, record, ttl_seconds))


def dropped_lists(records: Iterable[Record]) -> dict[TimelineList, None]:
    """Return the lists that the records make wrong. They are dropped, and rebuilt when next read.

    The lists of an author's followers are not among them; see rounds.py.
    """
    dropped: dict[TimelineList, None] = {}
    for record in records:
        match record.kind:
            case "tweet_created" if record.is_replayed:
                dropped[author_list(record.change.tweet.user_id)] = None
            case "user_followed" | "user_unfollowed":
                dropped[home_list(record.change.follower_id)] = None
            case "user_deleted":
                dropped[home_list(record.change.user_id)] = None
                dropped[author_list(record.change.user_id)] = None
    return dropped


def unlink(key: bytes) -> Commands:
    """Return the command that removes a key."""
    return Commands(pack(b"UNLINK", key))


def push(key_start: bytes, user_id: int, ids: Sequence[bytes]) -> Commands:
    """Return the command that pushes ids to a user's list, if the list exists.

    Args:
        key_start: The list's key up to the user's id.
        user_id: The user.
        ids: The ids.
    """
    key = b"%b%d" % (key_start, user_id)
    return Commands(
        pack(b"LPUSHX", key, *ids), ids=len(ids), pushed=PushedLists(key_start, [user_id])
    )


def _set_tweet(key: bytes, record: Record, ttl_seconds: int) -> bytes:
    ttl = b"%d" % ttl_seconds
    if record.kind == "tweet_created":
        # The first version never replaces anything, so SET NX is enough. If the key holds a fill
        # lease, its holder reads this version or a newer one.
        value = tweet_cache.encode_entry(1, record.change.tweet.SerializeToString())
        return pack(b"SET", key, value, b"NX", b"EX", ttl)
    value = tweet_cache.DELETED
    if record.kind == "tweet_updated":
        value = tweet_cache.encode_entry(
            record.change.version, record.change.tweet.SerializeToString()
        )
    return pack(b"EVAL", tweet_cache.SET_IF_NEWER.encode(), b"1", key, value, ttl)
