"""Group commit: whose tweets share a transaction, and what their callers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from helpers.fakes.group_store import GroupStore, draft_of, wait_for_locks

from core.errors import (
    DatabaseUnavailableError,
    InternalError,
    OverloadedError,
    UserBusyError,
)
from core.feed.history import Lsn, Moment
from write_service import group_commit
from write_service.drafts import TweetDraft
from write_service.group_commit import (
    UNREACHABLE_LSN,
    GroupCommit,
    Result,
)

pytestmark = pytest.mark.usefixtures("single_tweets_stay_recent")


async def test_each_caller_gets_their_own_tweet() -> None:
    """Five hundred concurrent callers share few transactions, and no answers are mixed up."""
    store = GroupStore()
    commits = GroupCommit(store.create)
    commits.start()
    answers = await asyncio.gather(*(commits.submit([draft_of(n)]) for n in range(500)))
    await commits.close()
    tweets = [tweet for (tweet,), _ in answers]
    assert [tweet.id for tweet in tweets if isinstance(tweet, Tweet)] == list(range(500))
    assert len(store.groups) < 50


async def test_a_bad_draft_does_not_fail_the_others() -> None:
    """A group that is rolled back is tried in halves, so a bad draft is found in a few tries."""
    store = GroupStore()
    commits = GroupCommit(store.create)
    commits.start()
    drafts = [draft_of(n, "poison" if n == 300 else "x") for n in range(1000)]
    answers, _ = await commits.submit(drafts)
    await commits.close()
    assert isinstance(answers[300], InternalError)
    assert [a.id for a in answers if isinstance(a, Tweet)] == [n for n in range(1000) if n != 300]
    assert len(store.groups) < 25


async def test_nothing_is_repeated_after_a_commit() -> None:
    """If a failure may have come after the commit, a second try could create the tweets twice."""
    store = GroupStore()
    store.fails_after_commit = True
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([draft_of(1), draft_of(2)])
    await commits.close()
    assert [type(answer) for answer in answers] == [InternalError, InternalError]
    assert store.created == [1, 2]


async def test_a_locked_author_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of the group are answered at once, and those who come later as well."""
    wait_for_locks(monkeypatch, 60)
    store = GroupStore()
    store.locked = {1}
    commits = GroupCommit(store.create)
    commits.start()
    first = asyncio.create_task(commits.submit([draft_of(1), draft_of(1)]))
    await store.tried.wait()
    for n in range(10, 20):
        (answer,), _ = await commits.submit([draft_of(n)])
        assert isinstance(answer, Tweet)
    later = asyncio.create_task(commits.submit([draft_of(1)]))
    await asyncio.sleep(0)
    assert not first.done()
    store.locked = set()
    for waiting in (first, later):
        assert all(isinstance(answer, Tweet) for answer in (await waiting)[0])
    await commits.close()
    assert store.created.count(1) == 3


@pytest.mark.parametrize("content", ["x", "stuck"])
async def test_a_lock_that_lasts_is_an_error(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """All tweets of the author fail with an error to retry; nobody else's do."""
    wait_for_locks(monkeypatch, 0.02)
    store = GroupStore()
    store.locked = {1} if content == "x" else set()
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([draft_of(1, content), draft_of(2), draft_of(1, content)])
    assert [type(answer) for answer in answers] == [UserBusyError, Tweet, UserBusyError]
    store.locked = set()
    (again,), _ = await commits.submit([draft_of(1)])
    assert isinstance(again, Tweet)
    await commits.close()


async def test_close_commits_the_tweets_of_locked_authors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain waits for a locked author for as long as callers would."""
    wait_for_locks(monkeypatch, 60)
    store = GroupStore()
    store.locked = {1}
    commits = GroupCommit(store.create)
    commits.start()
    waiting = asyncio.create_task(commits.submit([draft_of(1)] * 3))
    await store.tried.wait()
    closing = asyncio.create_task(commits.close())
    await asyncio.sleep(0)
    store.locked = set()
    await closing
    assert [type(answer) for answer in (await waiting)[0]] == [Tweet] * 3


async def test_callers_are_told_when_postgres_is_down() -> None:
    """Every caller of the group gets the error, and the next group is tried."""
    store = GroupStore()
    store.down = True
    commits = GroupCommit(store.create)
    commits.start()
    assert isinstance((await commits.submit([draft_of(1)]))[0][0], DatabaseUnavailableError)
    store.down = False
    assert isinstance((await commits.submit([draft_of(1)]))[0][0], Tweet)
    await commits.close()


async def test_close_commits_what_was_submitted() -> None:
    """A drain loses no tweet that was accepted."""
    store = GroupStore()
    store.open.clear()
    commits = GroupCommit(store.create)
    commits.start()
    waiting = [asyncio.create_task(commits.submit([draft_of(n)])) for n in range(10)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(commits.close())
    store.open.set()
    await closing
    answers = await asyncio.gather(*waiting)
    assert all(isinstance(answer, Tweet) for (answer,), _ in answers)


async def test_the_moment_is_that_of_the_last_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """If drafts are spread over several groups, the moment is at or after all their commits."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", 2)
    commits = GroupCommit(GroupStore().create)
    commits.start()
    answers, moment = await commits.submit([draft_of(n) for n in range(5)])
    await commits.close()
    assert (len(answers), moment) == (5, Moment("0123456789", Lsn(3)))
    assert await commits.submit([]) == ([], None)


async def test_a_new_history_between_two_commits_makes_the_moment_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first commit may be lost, so no database may claim to have all of them."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", 1)
    histories = iter(["0123456789", "9876543210"])

    async def create(drafts: Sequence[TweetDraft]) -> tuple[list[Result], Moment]:
        return [Tweet(id=draft.user_id) for draft in drafts], Moment(next(histories), Lsn(5))

    commits = GroupCommit(create)
    commits.start()
    _, moment = await commits.submit([draft_of(1), draft_of(2)])
    await commits.close()
    assert moment is not None
    assert moment.lsn == UNREACHABLE_LSN


async def test_a_cancelled_caller_does_not_fail_the_group() -> None:
    """The others of the group get their answers."""
    store = GroupStore()
    store.open.clear()
    commits = GroupCommit(store.create)
    commits.start()
    cancelled = asyncio.create_task(commits.submit([draft_of(1)]))
    waiting = asyncio.create_task(commits.submit([draft_of(2)]))
    await asyncio.sleep(0)
    cancelled.cancel()
    store.open.set()
    (answer,), _ = await waiting
    await commits.close()
    assert isinstance(answer, Tweet)


async def test_a_full_queue_refuses_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is limited, so that a flood of tweets cannot fill the memory.

    Batches have a limit of their own, so they do not cause single tweets to be refused.
    """
    monkeypatch.setattr(group_commit, "MAX_WAITING", 1)
    monkeypatch.setattr(group_commit, "MAX_IN_BATCHES", 2)
    store = GroupStore()
    commits = GroupCommit(store.create)
    batch = asyncio.create_task(commits.submit([draft_of(n) for n in range(2)]))
    single = asyncio.create_task(commits.submit([draft_of(3)]))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await commits.submit([draft_of(n) for n in range(2)])
    with pytest.raises(OverloadedError):
        await commits.submit([draft_of(3)])
    commits.start()
    await asyncio.gather(batch, single)
    await commits.submit([draft_of(n) for n in range(2)])
    await commits.close()
    assert sorted(store.created) == [0, 0, 1, 1, 3]
