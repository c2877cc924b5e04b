"""Rewrites of Redis' append-only file, which otherwise keeps what was deleted.

Redis appends every change to the file: texts of tweets that were deleted since, and the addresses
by which calls are counted. It rewrites the file from what it holds when the file has doubled. The
file of a quiet Redis would keep everything.
"""

from __future__ import annotations

import asyncio
import logging

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

LOG = logging.getLogger(__name__)
# How often a worker looks whether a rewrite is due.
CHECK_SECONDS = 600.0
TIMEOUT_SECONDS = 5.0


class AppendOnlyFile:
    """Has Redis rewrite its append-only file regularly, however many workers there are."""

    def __init__(self, url: str, prefix: str, interval_seconds: float) -> None:
        """Prepare to ask Redis; this does not connect yet.

        Args:
            url: the address of Redis.
            prefix: the prefix of all keys.
            interval_seconds: the time between two rewrites.
        """
        self._redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        # Without a TTL, so that Redis does not evict it.
        self._key = f"{prefix}aof-rewritten"
        self._interval_seconds = interval_seconds
        # The last refusal, which is logged once.
        self._refusal = ""

    async def run(self) -> None:
        """Rewrite the file whenever it is due, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.rewrite_if_due)
            except ResponseError as error:
                if self._refusal != str(error):
                    LOG.warning(
                        "Redis did not rewrite its append-only file, so deleted data stay in it; "
                        "allow BGREWRITEAOF, INFO and TIME: error=%s",
                        error,
                    )
                self._refusal = str(error)
            except RedisError:
                pass  # the fan-out reports a Redis that does not answer
            await asyncio.sleep(min(CHECK_SECONDS, self._interval_seconds))

    def rewrite_if_due(self) -> bool:
        """Have Redis rewrite the file if the last time was the interval ago; return whether.

        Raises:
            RedisError: Redis does not answer or refuses; the rewrite stays due.
        """
        persistence = self._redis.info("persistence")
        if not persistence.get("aof_enabled") or persistence.get("aof_rewrite_in_progress"):
            return False
        # The clock of Redis, which is the same for all workers.
        now, _ = self._redis.time()
        last = int(self._redis.get(self._key) or 0)
        if last <= now < last + self._interval_seconds:
            return False
        try:
            self._redis.bgrewriteaof()
        except ResponseError:
            if not self._redis.info("persistence").get("aof_rewrite_in_progress"):
                raise
            return False  # another worker was faster
        self._redis.set(self._key, now)
        return True

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
