"""Removes keys from Redis by pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis

STEP = 1000


def unlink_all(redis: Redis, *patterns: str, only: Callable[[Any], bool] | None = None) -> int:
    """Remove all keys that match one of the patterns.

    Works in steps, between which Redis serves others. Every key that exists during the whole call
    is removed. Keys that are created meanwhile may be removed or not.

    Args:
        redis: where to remove them.
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
