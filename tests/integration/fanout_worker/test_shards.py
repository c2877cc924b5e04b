"""The worker's connections to Redis."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import redis
from helpers.fanfare import Fanfare

from fanout_worker.shards import Shards


def test_a_redis_that_dies_while_it_is_connected_to_costs_no_connections(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often that happens, the pool has enough for the next time."""
    shards = Shards(fanfare.settings.redis_address(), 800, fanfare.settings.silence_seconds)
    pool: Any = shards._pool
    connect, calls = pool.get_connection, itertools.count(1)

    def fail_at_the_eighth() -> object:
        if next(calls) % 8 == 0:
            raise redis.ConnectionError
        return connect()

    with monkeypatch.context() as patch:
        patch.setattr(pool, "get_connection", fail_at_the_eighth)
        for _ in range(10):
            with pytest.raises(redis.ConnectionError):
                shards.fences([0])
            shards.close()
    assert len(shards.fences([0])) == 16
    shards.close()
