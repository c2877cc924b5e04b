"""The append-only file of a real Valkey, and when a worker has it rewritten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.waiting import wait_until
from redis import Redis
from redis.exceptions import ResponseError

from core.settings import Settings
from embedded.stack import Stack, default_parts_dir
from fanout_worker import append_only_file
from fanout_worker.append_only_file import AppendOnlyFile

TEXT = b"a deleted tweet"
DAY_SECONDS = 86_400.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return a stack of Valkey only."""
    elsewhere = Settings.model_construct(postgres_dsn="postgresql://", kafka_bootstrap_servers="-")
    with Stack(tmp_path_factory.mktemp("aof"), default_parts_dir(), given=elsewhere) as running:
        yield running


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """Return an empty Redis."""
    with Redis.from_url(stack.addresses.redis_url) as client:
        client.flushall()
        wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "none runs")
        yield client


@pytest.fixture
def file(stack: Stack) -> Iterator[AppendOnlyFile]:
    """Return the append-only file, which is rewritten every day."""
    file = AppendOnlyFile(stack.addresses.redis_url, "test:", DAY_SECONDS)
    yield file
    file.close()


def _keeps_text(stack: Stack) -> bool:
    files = Path(stack._state_dir).rglob("appendonly.aof.*")
    return any(TEXT in path.read_bytes() for path in files if path.exists())


def test_a_rewrite_removes_what_was_deleted(
    stack: Stack, redis: Redis, file: AppendOnlyFile
) -> None:
    """What Redis no longer holds is gone from the file, which a second worker leaves alone."""
    redis.set("test:tweet", TEXT)
    redis.set("test:tweet", "D")
    wait_until(lambda: _keeps_text(stack), "the change is in the file")
    assert file.rewrite_if_due()
    wait_until(lambda: not _keeps_text(stack), "the file is rewritten")
    second = AppendOnlyFile(stack.addresses.redis_url, "test:", DAY_SECONDS)
    assert not second.rewrite_if_due()
    second.close()


@pytest.mark.parametrize(("ago", "is_due"), [(DAY_SECONDS - 60, False), (DAY_SECONDS, True)])
def test_a_rewrite_is_due_after_the_interval(
    redis: Redis, file: AppendOnlyFile, ago: float, is_due: bool
) -> None:
    """The time of the last rewrite is in Redis, for all workers."""
    redis.set("test:aof-rewritten", int(redis.time()[0] - ago))
    assert file.rewrite_if_due() is is_due


def test_a_clock_that_was_set_back_does_not_stop_the_rewrites(
    redis: Redis, file: AppendOnlyFile
) -> None:
    """A last time in the future counts for nothing."""
    redis.set("test:aof-rewritten", redis.time()[0] + 1000)
    assert file.rewrite_if_due()


def test_a_redis_without_the_file_is_left_alone(redis: Redis, file: AppendOnlyFile) -> None:
    """There is nothing to rewrite while appendonly is no."""
    redis.config_set("appendonly", "no")
    try:
        assert not file.rewrite_if_due()
    finally:
        redis.config_set("appendonly", "yes")


async def test_a_refusal_is_logged_once(
    stack: Stack, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A user who may not use BGREWRITEAOF gets one line that says what to allow."""
    monkeypatch.setattr(append_only_file, "CHECK_SECONDS", 0.01)
    redis.acl_setuser(
        "poor", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-bgrewriteaof"]
    )
    url = stack.addresses.redis_url.replace("redis://", "redis://poor:any@")
    file = AppendOnlyFile(url, "test:", DAY_SECONDS)
    with caplog.at_level(logging.WARNING), pytest.raises(ResponseError):
        file.rewrite_if_due()
    task = asyncio.create_task(file.run())

    def is_refused_again() -> bool:
        commands = redis.info("commandstats")
        return bool(commands.get("cmdstat_bgrewriteaof", {}).get("rejected_calls", 0) >= 5)

    await asyncio.to_thread(wait_until, is_refused_again, "it is refused five times")
    task.cancel()
    await asyncio.wait([task])
    file.close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "allow BGREWRITEAOF" in line
