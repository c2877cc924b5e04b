"""Removes keys from Redis by pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis

STEP = 1000


def unlink_all(redis: Redis, *patterns: str, only: Callable[[Any], bool] | None = None) -> int:
    """Remove all keys that match one of the patterns.

    Redis serves other clients between the steps of the scan. Every matching key that exists during
    the whole call is removed. A key that is created meanwhile may or may not be removed.

    Args:
        redis: the Redis to remove them from.
        patterns: glob-style patterns.
        only: returns whether to remove a matching key; None to remove all of them.

    Returns:
        How many keys were removed.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    removed = 0
    for pattern in patterns:
        cursor = 0
        while True:
            cursor, keys = redis.scan(cursor, match=pattern, count=STEP)
            if only is not None:
                keys = [key for key in keys if only(key)]
            if keys:
                removed += int(redis.unlink(*keys))
            if cursor == 0:
                break
    return removed
