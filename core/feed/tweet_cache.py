"""The tweet bodies in Redis: their values and what may replace what.

A value is `<version>:<serialised Tweet>`, `D` for a deleted tweet, or `L<token>`, the lease of a
reader who is filling it from Postgres. A newer version replaces an older one and never the other
way round; a deletion is newer than all; a lease gives way to everything.
"""

from __future__ import annotations

DELETED = b"D"
_LEASE = b"L"

# ARGV: value, TTL in seconds. Keeps what is there if it is as new.
SET_IF_NEWER = """
local old = redis.call('GET', KEYS[1])
if old == 'D' then return 0 end
if old and ARGV[1] ~= 'D' then
    local version = tonumber(string.match(old, '^(%d+):'))
    if version and version >= tonumber(string.match(ARGV[1], '^(%d+):')) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

# ARGV: lease, value ('' to leave none), TTL in seconds. Only the lease's holder may fill.
FILL = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


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
