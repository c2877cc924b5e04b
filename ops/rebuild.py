"""Removes cached timelines from Redis, so that they are built again when they are next read."""

from __future__ import annotations

from core.feed.timeline_lists import author_list, home_list
from core.settings import Settings
from core.storage.redis_scan import unlink_all
from ops.failures import failures_as_ops_errors
from ops.feed_status import current_keys
from ops.redis import open_redis


@failures_as_ops_errors()
def remove_cached_timelines(settings: Settings, user_id: int | None) -> int:
    """Remove the home timeline and the list of own tweets of a user, or of all users.

    Args:
        settings: where Postgres and Redis are.
        user_id: whose lists; None for everybody's.

    Returns:
        How many lists were removed.

    Raises:
        OpsError: Postgres or Redis does not answer.
    """
    keys = current_keys(settings)
    with open_redis(settings) as redis:
        if user_id is None:
            return unlink_all(redis, keys.home_lists_pattern, keys.author_lists_pattern)
        return int(redis.unlink(*map(keys.for_list, (home_list(user_id), author_list(user_id)))))
