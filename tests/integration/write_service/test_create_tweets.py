"""The transaction that creates tweets, on a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from helpers.fakes.tracing import SAMPLED
from helpers.fanfare import Fanfare

from core.errors import DatabaseUnavailableError
from core.storage.postgres_pool import Database
from core.storage.round_trips import Statement
from write_service import committed
from write_service.drafts import TweetDraft
from write_service.rollbacks import RolledBackError
from write_service.store import CommandStore


@pytest.fixture
async def store(fanfare: Fanfare) -> AsyncIterator[CommandStore]:
    """Yield a store with a pool of its own."""
    database = Database(fanfare.settings.primary_dsn(), "test")
    await database.open()
    yield CommandStore(database, pull_followers=0, max_following=0)
    await database.close()


def _tweets(fanfare: Fanfare, user_id: int) -> int:
    ((count,),) = fanfare.sql("SELECT count(*) FROM tweets WHERE user_id = %s", user_id)
    return int(count)


async def test_a_failure_after_the_commit_is_not_a_rollback(
    fanfare: Fanfare, store: CommandStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the tweets would be created again, in smaller groups."""
    author = fanfare.user()
    failing = Statement("failing", "SELECT 1 / 0 WHERE $1::text <> ''")
    monkeypatch.setattr(committed, "_COMMITTED", failing)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await store.create_tweets([TweetDraft(author.id, "once", None)])
    assert _tweets(fanfare, author.id) == 1


async def test_a_failure_before_the_commit_leaves_nothing(
    fanfare: Fanfare, store: CommandStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection can be used again, and the next try creates each tweet once."""
    author = fanfare.user()
    drafts = [TweetDraft(author.id, text, None) for text in ("first", "second")]
    with monkeypatch.context() as patch:
        failing = Statement("fails_at_commit", "SELECT 1 / 0")
        patch.setattr(committed, "_COMMIT_AND_CHAIN", failing)
        with pytest.raises(RolledBackError):
            await store.create_tweets(drafts)
    assert _tweets(fanfare, author.id) == 0
    results, _ = await store.create_tweets(drafts)
    assert len(results) == _tweets(fanfare, author.id) == 2


async def test_a_restored_server_that_replays_its_wal_is_unavailable(fanfare: Fanfare) -> None:
    """It refuses all groups, so smaller ones are not tried, and the caller may try again."""
    author = fanfare.user()
    database = Database(fanfare.settings.primary_dsn(), "test", max_size=1)
    await database.open()
    try:
        async with database.connection() as connection:
            await connection.execute("SET default_transaction_read_only = on")
        store = CommandStore(database, pull_followers=0, max_following=0)
        with pytest.raises(DatabaseUnavailableError):
            await store.create_tweets([TweetDraft(author.id, "too early", None)])
    finally:
        await database.close()


async def test_only_the_events_of_traced_calls_have_a_traceparent(
    fanfare: Fanfare, store: CommandStore
) -> None:
    """Also in a group with others, and in one in which none is traced."""
    author = fanfare.user()
    for traceparents in ((None, SAMPLED, None), (None,)):
        drafts = [TweetDraft(author.id, "x", None, each) for each in traceparents]
        await store.create_tweets(drafts)
    rows = fanfare.sql("SELECT traceparent FROM outbox WHERE key = %s ORDER BY id", author.id)
    assert [row[0] for row in rows] == [None, SAMPLED, None, None]
