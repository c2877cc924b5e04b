"""Walking through the keys of Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis

STEP = 1000


def unlink_all(redis: Redis, *patterns: str, only: Callable[[Any], bool] | None = None) -> int:
    """Remove all keys that match one of the patterns; return how many were removed.

    only: which of these; None for all of them.

    In steps that keep nobody waiting. Every key that is there from before the call until its end
    is removed; of those that come meanwhile, some are. Raises redis.RedisError.
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
