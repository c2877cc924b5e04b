"""The tweet cache: serialised copies of tweets in Redis, and which copy may replace which.

The entry of a tweet is one of

- `<version>:<serialised Tweet>`,
- `D` if the tweet is deleted,
- `L<token>`, the fill lease of a reader that is reading the tweet from Postgres to put it here.

The fan-out replaces an entry only by a newer version. A deletion is newer than every version, so a
deleted tweet does not come back. Whatever the fan-out writes replaces a fill lease. A holder that
has lost its lease writes nothing, because what it has read may be older.
"""

from __future__ import annotations

from core.feed.scripts import load_script

DELETED = b"D"
"""The entry of a deleted tweet."""
_LEASE = b"L"

# The scripts that change entries. The .lua files describe their arguments and results.
SET_IF_NEWER = load_script("set_tweet_if_newer")
LEASE = load_script("lease_tweets")
FILL = load_script("fill_tweets")


def tweet_id_of(key: bytes) -> int:
    """Return the id of the tweet whose entry has this key."""
    return int(key.rpartition(b":")[2])


def encode_entry(version: int, tweet: bytes) -> bytes:
    """Return the entry of a tweet.

    Args:
        version: the version of its content, from 1.
        tweet: the serialised Tweet.
    """
    return b"%d:%b" % (version, tweet)


def encode_lease(token: str) -> bytes:
    """Return a fill lease; the token is unique to its holder."""
    return _LEASE + token.encode()


def is_lease(entry: bytes) -> bool:
    """Return whether an entry is a fill lease."""
    return entry.startswith(_LEASE)


def decode_entry(entry: bytes) -> bytes | None:
    """Return the serialised Tweet, or None if it is deleted. The entry must not be a lease."""
    return None if entry == DELETED else entry.partition(b":")[2]
