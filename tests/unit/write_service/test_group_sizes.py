"""Group commit: when transactions begin, and how single tweets and batches share them."""

from __future__ import annotations

import asyncio

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from helpers.fakes.group_store import GroupStore, draft_of, wait_for_locks

from core.errors import (
    UserBusyError,
)
from core.runtime.callers import CALLER
from write_service import group_commit
from write_service.group_commit import (
    COMMITTERS,
    PIECE,
    SECOND_GROUP,
    GroupCommit,
)

pytestmark = pytest.mark.usefixtures("single_tweets_stay_recent")


async def test_a_single_tweet_does_not_wait_for_batches() -> None:
    """However many batches wait, one piece of them is committed at a time, beside the tweet."""
    store = GroupStore()
    commits = GroupCommit(store.create)
    commits.start()
    await commits.submit([draft_of(2)])
    store.open.clear()
    store.groups.clear()
    batches = [asyncio.create_task(commits.submit([draft_of(1)] * 1000)) for _ in range(10)]
    await asyncio.sleep(0)
    single = asyncio.create_task(commits.submit([draft_of(2)]))
    await asyncio.sleep(0)
    store.open.set()
    assert isinstance((await single)[0][0], Tweet)
    assert sorted(store.groups[:COMMITTERS]) == [1, PIECE]
    await asyncio.gather(*batches)
    await commits.close()
    assert max(store.groups) == PIECE


async def _begin_two_groups(store: GroupStore, drafts: int) -> list[int]:
    """Let a transaction with one tweet wait, and submit more; return the size of those begun."""
    store.open.clear()
    commits = GroupCommit(store.create)
    commits.start()
    tasks = [asyncio.create_task(commits.submit([draft_of(0)]))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(commits.submit([draft_of(n)])) for n in range(1, drafts)]
    for _ in range(10):
        await asyncio.sleep(0)
    begun = list(store.begun)
    store.open.set()
    await asyncio.gather(*tasks)
    await commits.close()
    return begun


async def test_few_tweets_wait_for_the_transaction_under_way() -> None:
    """They share the transaction after it, since each transaction costs a lot."""
    store = GroupStore()
    assert await _begin_two_groups(store, SECOND_GROUP) == [1]
    assert store.begun == [1, SECOND_GROUP - 1]


async def test_many_tweets_begin_a_second_transaction() -> None:
    """One transaction prepares while the other one waits for the disk."""
    assert await _begin_two_groups(GroupStore(), 1 + SECOND_GROUP) == [1, SECOND_GROUP]


async def test_few_tweets_do_not_wait_for_a_slow_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transaction that waits for Postgres does not hold up all other tweets."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda _seconds, call: loop.call_soon(call))
    assert await _begin_two_groups(GroupStore(), 3) == [1, 2]


async def test_batches_pause_while_single_tweets_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a transaction with a piece, only single tweets are committed for a while."""
    monkeypatch.setattr(group_commit, "PAUSE_FACTOR", 1e6)
    store = GroupStore()
    commits = GroupCommit(store.create)
    commits.start()
    await commits.submit([draft_of(2)])
    store.groups.clear()
    batch = asyncio.create_task(commits.submit([draft_of(1)] * 1000))
    for _ in range(20):
        await commits.submit([draft_of(2)])
    assert sum(store.groups) == 20 + PIECE
    batch.cancel()
    await commits.close()


async def test_the_end_of_a_pause_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer may fire early, as uvloop's do; the rest of a batch is committed all the same."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(group_commit, "PAUSE_FACTOR", 1e6)
    monkeypatch.setattr(loop, "call_later", lambda _seconds, call: loop.call_soon(call))
    store = GroupStore()
    commits = GroupCommit(store.create)
    commits.start()
    await commits.submit([draft_of(2)])
    batch = asyncio.create_task(commits.submit([draft_of(1)] * 3 * PIECE))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert batch.done(), "nobody has been told that the pause is over"
    await commits.close()


async def test_batches_use_whole_groups_while_there_are_no_single_tweets() -> None:
    """Loading many tweets takes few transactions."""
    store = GroupStore()
    commits = GroupCommit(store.create)
    commits.start()
    await asyncio.gather(*(commits.submit([draft_of(1)] * 1000) for _ in range(20)))
    await commits.close()
    assert max(store.groups) == group_commit.MAX_GROUP


async def test_batches_of_callers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller with many batches waiting delays the batch of another by one piece of them."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", PIECE)
    store = GroupStore()
    commits = GroupCommit(store.create)
    batches = []
    for caller, author in (*[("greedy", 1)] * 5, ("other", 2)):
        CALLER.set((caller,))
        batches.append(asyncio.create_task(commits.submit([draft_of(author)] * 2 * PIECE)))
    await asyncio.sleep(0)
    commits.start()
    await batches[-1]
    assert store.created.count(1) <= 4 * PIECE
    await asyncio.gather(*batches)
    await commits.close()


async def test_a_batch_is_created_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of a batch grow in request order, also if several transactions create it."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", PIECE)
    store = GroupStore()
    commits = GroupCommit(store.create)
    commits.start()
    count = 3 * PIECE + 1
    await commits.submit([draft_of(n) for n in range(count)])
    await commits.close()
    assert store.created == list(range(count))


async def test_a_batch_waits_once_for_a_locked_author(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces after the first one know that the author is locked."""
    wait_for_locks(monkeypatch, 0.02)
    monkeypatch.setattr(group_commit, "MAX_GROUP", PIECE)
    store = GroupStore()
    store.locked = {1}
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([draft_of(n % 2) for n in range(3 * PIECE)])
    await commits.close()
    assert [isinstance(answer, UserBusyError) for answer in answers] == [False, True] * (
        3 * PIECE // 2
    )
    assert sum(store.groups) <= 2 * PIECE + PIECE + 100  # and the tries of the locked author
