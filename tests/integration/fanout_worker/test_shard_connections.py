"""The worker's connections to Valkey: refused transactions, failed commands, lost connections."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import pytest
import redis
from helpers.fakes.worker_rounds import (
    END,
    HISTORY,
    LENGTH,
    P0,
    START,
    checkpoint_rows,
    last_rounds,
)
from helpers.fanfare import Fanfare
from redis.exceptions import ResponseError

from core.feed.sharding import Shard
from core.storage.resp import pack
from fanout_worker import shards as worker_shards
from fanout_worker.checkpoints import CheckpointMismatch
from fanout_worker.chunks import ALL_SHARDS, Commands
from fanout_worker.shards import RedisShards


@pytest.mark.parametrize("is_large", [False, True])
def test_a_checkpoint_that_changes_under_way_refuses_the_transaction(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch, *, is_large: bool
) -> None:
    """Between WATCH and EXEC another client writes the checkpoint, even with the same value.

    The other shards of a small round are refused with it, since they are in one transaction.
    """
    monkeypatch.setattr(worker_shards, "MAX_COMMANDS", -1 if is_large else 1000)
    prefix = f"contract-{uuid.uuid4().hex}:"
    shards = RedisShards(fanfare.settings.redis_address(), prefix, LENGTH, 5.0)
    shards.enter_history(HISTORY)
    for shard in ALL_SHARDS:
        shards.create_checkpoint(shard, P0, START)
    send = shards._send

    def write_and_send(*arguments: Any) -> None:
        fanfare.redis.set(shards.keys.checkpoint(Shard(5), P0), START.encode())
        send(*arguments)

    monkeypatch.setattr(shards, "_send", write_and_send)
    shards.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
    with pytest.raises(CheckpointMismatch):
        shards.settle()
    row = shards.read_checkpoints([P0])[P0]
    others = END if is_large else START
    assert row == [START if shard == 5 else others for shard in ALL_SHARDS]
    shards.remove_histories([HISTORY])
    shards.close()


def test_a_command_that_fails_is_an_error(fanfare: Fanfare) -> None:
    """A refusal inside a transaction must not be taken for success."""
    prefix = f"contract-{uuid.uuid4().hex}:"
    shards = RedisShards(fanfare.settings.redis_address(), prefix, LENGTH, 5.0)
    shards.enter_history(HISTORY)
    for shard in ALL_SHARDS:
        shards.create_checkpoint(shard, P0, START)
    wrong = Commands(pack(b"LPUSHX", shards.keys.checkpoint(Shard(5), P0).encode(), b"1"))
    shards.apply(last_rounds({5: [wrong]}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
    with pytest.raises(ResponseError):
        shards.settle()
    shards.close()
    shards.remove_histories([HISTORY])
    shards.close()


def test_failed_connection_attempts_do_not_exhaust_the_pool(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis dies while the worker connects; after close() all connections are available again."""
    monkeypatch.setattr(worker_shards, "MAX_COMMANDS", -1)  # a connection for each shard
    prefix = f"contract-{uuid.uuid4().hex}:"
    shards = RedisShards(fanfare.settings.redis_address(), prefix, 800, 5.0)
    for shard in ALL_SHARDS:
        shards.create_checkpoint(shard, P0, START)
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
                shards.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
            shards.close()
    shards.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
    shards.settle()
    assert set(shards.read_checkpoints([P0])[P0]) == {END}
    shards.remove_histories([""])
    shards.close()
