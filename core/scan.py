"""Walking through the keys of Redis."""

from __future__ import annotations

from redis import Redis

STEP = 1000


def unlink_all(redis: Redis, *patterns: str) -> int:
    """Remove all keys that match one of the patterns; return how many were removed.

    In steps that keep nobody waiting. Every key that is there from before the call until its end
    is removed; of those that come meanwhile, some are. Raises redis.RedisError.
    """
    removed = 0
    for pattern in patterns:
        cursor = 0
        while True:
            cursor, keys = redis.scan(cursor, match=pattern, count=STEP)
            if keys:
                removed += int(redis.unlink(*keys))
            if cursor == 0:
                break
    return removed
