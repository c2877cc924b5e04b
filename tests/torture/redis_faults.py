"""The faults of a story that concern Redis."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from torture.world import Cast, World

from core.feed.sharding import PARTITIONS, SHARDS, Partition, Shard
from core.feed.timeline_lists import author_list, home_list

ABANDONED_SECONDS = 11

# Copies all keys at one moment, since scripts are atomic. If keys were copied one by one, lists and
# checkpoints could be of different moments, which does not happen in a copy of a server.
_COPY = """
local copy = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
    copy[#copy + 1] = {key, redis.call('PTTL', key), redis.call('DUMP', key)}
end
return copy
"""


class RedisFaults:
    """Makes faults happen to the Redis of a story."""

    def __init__(self, world: World, cast: Cast) -> None:
        self._world = world
        self._cast = cast
        self._copy: list[tuple[bytes, int, bytes]] | None = None
        self._files: Path | None = None

    def flush_redis(self, _: int) -> bool:
        """Empty Redis with FLUSHALL."""
        return self._world.redis_up and bool(self._world.clients.redis.flushall())

    def fill_redis(self, _: int) -> bool:
        """Make Redis refuse writes for lack of memory, until it restarts or the story ends."""
        if self._world.redis_up:
            self._world.fill_redis(full=True)
        return self._world.redis_up

    def copy_redis(self, _: int) -> bool:
        """Keep a copy of Redis for later."""
        if self._world.redis_up:
            self._copy = self._world.clients.redis.eval(_COPY, 0)
        return self._world.redis_up

    def restore_redis(self, which: int) -> bool:
        """Replace all keys with the copy's; break connections, or keep them, as a proxy does."""
        if self._copy is None or not self._world.redis_up or self._world.redis_full:
            return False
        redis: Any = self._world.clients.redis
        pipeline = redis.pipeline(transaction=True)
        pipeline.flushall()
        for key, ttl, value in self._copy:
            pipeline.restore(key, max(ttl, 0), value)
        pipeline.execute()
        if which % 2:
            redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
        return True

    def drop_list(self, which: int) -> bool:
        """Delete the list of a timeline or of an author, as if it had expired."""
        kind = author_list if which % 4 == 3 else home_list
        key = self._world.clients.keys.for_list(kind(self._cast.user(which // 4)))
        return self._world.redis_up and bool(self._world.clients.redis.unlink(key))

    def drop_cached_tweet(self, which: int) -> bool:
        """Delete a cached tweet, as if it had expired."""
        tweets = self._cast.all_tweets
        if not tweets or not self._world.redis_up:
            return False
        return bool(
            self._world.clients.redis.unlink(
                self._world.clients.keys.tweet(tweets[which % len(tweets)])
            )
        )

    def drop_checkpoint(self, which: int) -> bool:
        """Delete a checkpoint."""
        key = self._world.clients.keys.checkpoint(
            Shard(which % SHARDS), Partition(which // SHARDS % PARTITIONS)
        )
        return self._world.redis_up and bool(self._world.clients.redis.unlink(key))

    def abandon_build(self, which: int) -> bool:
        """Leave the unfinished list of a reader who died while building it."""
        if not self._world.redis_up or self._world.redis_full:
            return False
        clients = self._world.clients
        redis, key = clients.redis, clients.keys.for_list(home_list(self._cast.user(which)))
        redis.unlink(key)
        redis.rpush(key, "=", f"B{int(time.time()) - ABANDONED_SECONDS}-dead")
        return True

    def stop_redis(self, _: int) -> bool:
        """Kill Redis, without starting it again."""
        up = self._world.redis_up
        self._world.system.stack.valkey.kill()
        return up

    def start_redis(self, _: int) -> bool:
        """Start Redis, which may have lost its last second."""
        if self._world.redis_up:
            return False
        self._world.system.stack.valkey.start()
        return True

    def empty_redis(self, _: int) -> bool:
        """Restart Redis without its data."""
        self._world.system.stack.valkey.kill()
        shutil.rmtree(self._redis_files)
        self._redis_files.mkdir()
        self._world.system.stack.valkey.start()
        return True

    def copy_redis_files(self, _: int) -> bool:
        """Restart Redis and keep its files for later."""
        files = self._world.system.settings.state_dir / "older-redis"
        shutil.rmtree(files, ignore_errors=True)
        self._world.system.stack.valkey.stop()
        shutil.copytree(self._redis_files, files)
        self._world.system.stack.valkey.start()
        self._files = files
        return True

    def restore_redis_files(self, _: int) -> bool:
        """Restart Redis from its older files."""
        if self._files is None:
            return False
        self._world.system.stack.valkey.kill()
        shutil.rmtree(self._redis_files)
        shutil.copytree(self._files, self._redis_files)
        self._world.system.stack.valkey.start()
        self._files = None
        return True

    @property
    def _redis_files(self) -> Path:
        return self._world.system.settings.state_dir / "valkey" / "data"
