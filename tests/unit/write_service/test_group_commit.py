"""Group commit: whose tweets share a transaction, and what their callers are told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from fanfare.common.v1.common_pb2 import Tweet

from core.errors import (
    DatabaseUnavailableError,
    InternalError,
    OverloadedError,
    UserBusyError,
)
from core.feed.history import Lsn, Moment
from core.runtime.callers import CALLER
from write_service import group_commit, locked_authors
from write_service.drafts import TweetDraft
from write_service.group_commit import (
    COMMITTERS,
    PIECE,
    SECOND_GROUP,
    UNREACHABLE_LSN,
    GroupCommit,
    Result,
)
from write_service.rollbacks import RequestIdLockedError, RolledBackError


class _Store:
    """Stands for Postgres, which may be down, and in which authors may be locked.

    A draft with the content "poison" has its group rolled back; "stuck" has a locked request_id.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.groups: list[int] = []
        self.tried = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.down = False
        self.locked: set[int] = set()
        self.fails_after_commit = False
        self.created: list[int] = []

    async def create(self, drafts: Sequence[TweetDraft]) -> tuple[list[Result], Moment]:
        self.begun.append(len(drafts))
        await self.open.wait()
        for _ in range(5):  # as Postgres would, let other tasks go on
            await asyncio.sleep(0)
        self.groups.append(len(drafts))
        self.tried.set()
        if self.down:
            raise DatabaseUnavailableError
        if any(draft.content == "poison" for draft in drafts):
            raise RolledBackError from ValueError("poison")
        if any(draft.content == "stuck" for draft in drafts):
            raise RequestIdLockedError
        tweets = [self._create(draft) for draft in drafts]
        if self.fails_after_commit:
            raise ValueError("after the commit")
        return tweets, Moment("0123456789", Lsn(len(self.groups)))

    def _create(self, draft: TweetDraft) -> Result:
        if draft.user_id in self.locked:
            return UserBusyError(draft.user_id)
        self.created.append(draft.user_id)
        return Tweet(id=draft.user_id, content=draft.content)


def _draft(user_id: int, content: str = "x") -> TweetDraft:
    return TweetDraft(user_id, content, None)


async def test_each_caller_gets_their_own_tweet() -> None:
    """Five hundred concurrent callers share few transactions, and no answers are mixed up."""
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    answers = await asyncio.gather(*(commits.submit([_draft(n)]) for n in range(500)))
    await commits.close()
    tweets = [tweet for (tweet,), _ in answers]
    assert [tweet.id for tweet in tweets if isinstance(tweet, Tweet)] == list(range(500))
    assert len(store.groups) < 50


async def test_a_bad_draft_does_not_fail_the_others() -> None:
    """A group that is rolled back is tried in halves, so a bad draft is found in a few tries."""
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    drafts = [_draft(n, "poison" if n == 300 else "x") for n in range(1000)]
    answers, _ = await commits.submit(drafts)
    await commits.close()
    assert isinstance(answers[300], InternalError)
    assert [a.id for a in answers if isinstance(a, Tweet)] == [n for n in range(1000) if n != 300]
    assert len(store.groups) < 25


async def test_nothing_is_repeated_after_a_commit() -> None:
    """If a failure may have come after the commit, a second try could create the tweets twice."""
    store = _Store()
    store.fails_after_commit = True
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([_draft(1), _draft(2)])
    await commits.close()
    assert [type(answer) for answer in answers] == [InternalError, InternalError]
    assert store.created == [1, 2]


@pytest.fixture(autouse=True)
def _single_tweets_stay_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tests independent of time: a busy machine may take a second between two lines."""
    monkeypatch.setattr(group_commit, "SINGLE_SECONDS", math.inf)


def _wait_for_locks(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(locked_authors, "LOCK_POLL_SECONDS", 0.001)
    monkeypatch.setattr(locked_authors, "LOCK_SECONDS", seconds)


async def test_a_locked_author_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of the group are answered at once, and those who come later as well."""
    _wait_for_locks(monkeypatch, 60)
    store = _Store()
    store.locked = {1}
    commits = GroupCommit(store.create)
    commits.start()
    first = asyncio.create_task(commits.submit([_draft(1), _draft(1)]))
    await store.tried.wait()
    for n in range(10, 20):
        (answer,), _ = await commits.submit([_draft(n)])
        assert isinstance(answer, Tweet)
    later = asyncio.create_task(commits.submit([_draft(1)]))
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
    _wait_for_locks(monkeypatch, 0.02)
    store = _Store()
    store.locked = {1} if content == "x" else set()
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([_draft(1, content), _draft(2), _draft(1, content)])
    assert [type(answer) for answer in answers] == [UserBusyError, Tweet, UserBusyError]
    store.locked = set()
    (again,), _ = await commits.submit([_draft(1)])
    assert isinstance(again, Tweet)
    await commits.close()


async def test_close_commits_the_tweets_of_locked_authors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain waits for a locked author for as long as callers would."""
    _wait_for_locks(monkeypatch, 60)
    store = _Store()
    store.locked = {1}
    commits = GroupCommit(store.create)
    commits.start()
    waiting = asyncio.create_task(commits.submit([_draft(1)] * 3))
    await store.tried.wait()
    closing = asyncio.create_task(commits.close())
    await asyncio.sleep(0)
    store.locked = set()
    await closing
    assert [type(answer) for answer in (await waiting)[0]] == [Tweet] * 3


async def test_callers_are_told_when_postgres_is_down() -> None:
    """Every caller of the group gets the error, and the next group is tried."""
    store = _Store()
    store.down = True
    commits = GroupCommit(store.create)
    commits.start()
    assert isinstance((await commits.submit([_draft(1)]))[0][0], DatabaseUnavailableError)
    store.down = False
    assert isinstance((await commits.submit([_draft(1)]))[0][0], Tweet)
    await commits.close()


async def test_close_commits_what_was_submitted() -> None:
    """A drain loses no tweet that was accepted."""
    store = _Store()
    store.open.clear()
    commits = GroupCommit(store.create)
    commits.start()
    waiting = [asyncio.create_task(commits.submit([_draft(n)])) for n in range(10)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(commits.close())
    store.open.set()
    await closing
    answers = await asyncio.gather(*waiting)
    assert all(isinstance(answer, Tweet) for (answer,), _ in answers)


async def test_the_moment_is_that_of_the_last_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """If drafts are spread over several groups, the moment is at or after all their commits."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", 2)
    commits = GroupCommit(_Store().create)
    commits.start()
    answers, moment = await commits.submit([_draft(n) for n in range(5)])
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
    _, moment = await commits.submit([_draft(1), _draft(2)])
    await commits.close()
    assert moment is not None
    assert moment.lsn == UNREACHABLE_LSN


async def test_a_cancelled_caller_does_not_fail_the_group() -> None:
    """The others of the group get their answers."""
    store = _Store()
    store.open.clear()
    commits = GroupCommit(store.create)
    commits.start()
    cancelled = asyncio.create_task(commits.submit([_draft(1)]))
    waiting = asyncio.create_task(commits.submit([_draft(2)]))
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
    store = _Store()
    commits = GroupCommit(store.create)
    batch = asyncio.create_task(commits.submit([_draft(n) for n in range(2)]))
    single = asyncio.create_task(commits.submit([_draft(3)]))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await commits.submit([_draft(n) for n in range(2)])
    with pytest.raises(OverloadedError):
        await commits.submit([_draft(3)])
    commits.start()
    await asyncio.gather(batch, single)
    await commits.submit([_draft(n) for n in range(2)])
    await commits.close()
    assert sorted(store.created) == [0, 0, 1, 1, 3]


async def test_a_single_tweet_does_not_wait_for_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches wait, one piece of them is committed at a time, beside the tweet."""
    monkeypatch.setattr(group_commit, "SINGLE_SECONDS", 60)
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    await commits.submit([_draft(2)])
    store.open.clear()
    store.groups.clear()
    batches = [asyncio.create_task(commits.submit([_draft(1)] * 1000)) for _ in range(10)]
    await asyncio.sleep(0)
    single = asyncio.create_task(commits.submit([_draft(2)]))
    await asyncio.sleep(0)
    store.open.set()
    assert isinstance((await single)[0][0], Tweet)
    assert sorted(store.groups[:COMMITTERS]) == [1, PIECE]
    await asyncio.gather(*batches)
    await commits.close()
    assert max(store.groups) == PIECE


async def _begin_two_groups(store: _Store, drafts: int) -> list[int]:
    """Let a transaction with one tweet wait, and submit more; return the size of those begun."""
    store.open.clear()
    commits = GroupCommit(store.create)
    commits.start()
    tasks = [asyncio.create_task(commits.submit([_draft(0)]))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(commits.submit([_draft(n)])) for n in range(1, drafts)]
    for _ in range(10):
        await asyncio.sleep(0)
    begun = list(store.begun)
    store.open.set()
    await asyncio.gather(*tasks)
    await commits.close()
    return begun


async def test_few_tweets_wait_for_the_transaction_under_way() -> None:
    """They share the transaction after it, since each transaction costs a lot."""
    store = _Store()
    assert await _begin_two_groups(store, SECOND_GROUP) == [1]
    assert store.begun == [1, SECOND_GROUP - 1]


async def test_many_tweets_begin_a_second_transaction() -> None:
    """One transaction prepares while the other one waits for the disk."""
    assert await _begin_two_groups(_Store(), 1 + SECOND_GROUP) == [1, SECOND_GROUP]


async def test_few_tweets_do_not_wait_for_a_slow_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transaction that waits for Postgres does not hold up all other tweets."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda _seconds, call: loop.call_soon(call))
    assert await _begin_two_groups(_Store(), 3) == [1, 2]


async def test_batches_pause_while_single_tweets_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a transaction with a piece, only single tweets are committed for a while."""
    monkeypatch.setattr(group_commit, "PAUSE_FACTOR", 1e6)
    monkeypatch.setattr(group_commit, "SINGLE_SECONDS", 60)
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    await commits.submit([_draft(2)])
    store.groups.clear()
    batch = asyncio.create_task(commits.submit([_draft(1)] * 1000))
    for _ in range(20):
        await commits.submit([_draft(2)])
    assert sum(store.groups) == 20 + PIECE
    batch.cancel()
    await commits.close()


async def test_the_end_of_a_pause_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer may fire early, as uvloop's do; the rest of a batch is committed all the same."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(group_commit, "PAUSE_FACTOR", 1e6)
    monkeypatch.setattr(loop, "call_later", lambda _seconds, call: loop.call_soon(call))
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    await commits.submit([_draft(2)])
    batch = asyncio.create_task(commits.submit([_draft(1)] * 3 * PIECE))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert batch.done(), "nobody has been told that the pause is over"
    await commits.close()


async def test_batches_use_whole_groups_while_there_are_no_single_tweets() -> None:
    """Loading many tweets takes few transactions."""
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    await asyncio.gather(*(commits.submit([_draft(1)] * 1000) for _ in range(20)))
    await commits.close()
    assert max(store.groups) == group_commit.MAX_GROUP


async def test_batches_of_callers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller with many batches waiting delays the batch of another by one piece of them."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", PIECE)
    store = _Store()
    commits = GroupCommit(store.create)
    batches = []
    for caller, author in (*[("greedy", 1)] * 5, ("other", 2)):
        CALLER.set((caller,))
        batches.append(asyncio.create_task(commits.submit([_draft(author)] * 2 * PIECE)))
    await asyncio.sleep(0)
    commits.start()
    await batches[-1]
    assert store.created.count(1) <= 4 * PIECE
    await asyncio.gather(*batches)
    await commits.close()


async def test_a_batch_is_created_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of a batch grow in request order, also if several transactions create it."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", PIECE)
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    count = 3 * PIECE + 1
    await commits.submit([_draft(n) for n in range(count)])
    await commits.close()
    assert store.created == list(range(count))


async def test_a_batch_waits_once_for_a_locked_author(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces after the first one know that the author is locked."""
    _wait_for_locks(monkeypatch, 0.02)
    monkeypatch.setattr(group_commit, "MAX_GROUP", PIECE)
    store = _Store()
    store.locked = {1}
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([_draft(n % 2) for n in range(3 * PIECE)])
    await commits.close()
    assert [isinstance(answer, UserBusyError) for answer in answers] == [False, True] * (
        3 * PIECE // 2
    )
    assert sum(store.groups) <= 2 * PIECE + PIECE + 100  # and the tries of the locked author
