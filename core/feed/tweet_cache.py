"""The tweet bodies in Redis: their values and what may replace what.

A value is `<version>:<serialised Tweet>`, `D` for a deleted tweet, or `L<token>`, the lease of a
reader who is filling it from Postgres. A newer version replaces an older one and never the other
way round; a deletion is newer than all; a lease gives way to everything.
"""

from __future__ import annotations

from core.feed.scripts import load_script

DELETED = b"D"
_LEASE = b"L"

# The scripts that change entries. Their arguments and results are described in the .lua files.
SET_IF_NEWER = load_script("set_tweet_if_newer")
FILL = load_script("fill_tweet")


def id_of(key: bytes) -> int:
    """Return the id of the tweet whose body has the key."""
    return int(key.rpartition(b":")[2])


def body(version: int, tweet: bytes) -> bytes:
    """Return the value that holds a serialised tweet in this version."""
    return b"%d:%b" % (version, tweet)


def lease(token: str) -> bytes:
    """Return the value by which the reader with this token holds the body for filling."""
    return _LEASE + token.encode()


def is_lease(value: bytes) -> bool:
    """Return whether somebody is filling the body."""
    return value.startswith(_LEASE)


def tweet_of(value: bytes) -> bytes | None:
    """Return the serialised tweet of a value that is no lease; None for a deleted tweet."""
    return None if value == DELETED else value.partition(b":")[2]
