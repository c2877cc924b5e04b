"""Redis, for a command of an operator."""

from __future__ import annotations

from redis import Redis

from core.settings import Settings

# How long a command waits for an answer of Redis. A scan of many keys is made of short calls.
REDIS_SECONDS = 10.0


def open_redis(settings: Settings) -> Redis:
    """Return a client of Redis that gives up a silent server after REDIS_SECONDS.

    Its calls raise redis.RedisError.
    """
    return Redis.from_url(settings.redis_address(), socket_timeout=REDIS_SECONDS)
