"""Group commit: whose tweets share a transaction, and what their callers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from fanfare.common.v1.common_pb2 import Tweet

from core.errors import DatabaseUnavailableError, InternalError, OverloadedError
from core.feed.history import Lsn, Moment
from write_service import group_commit
from write_service.drafts import TweetDraft
from write_service.group_commit import UNREACHABLE_LSN, GroupCommit, Result


class _Store:
    """Stands for Postgres, which may be down. A draft with the content "poison" fails its group."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.down = False

    async def create(self, drafts: Sequence[TweetDraft]) -> tuple[list[Result], Moment]:
        await self.open.wait()
        self.groups.append(len(drafts))
        if self.down:
            raise DatabaseUnavailableError
        if any(draft.content == "poison" for draft in drafts):
            raise ValueError("poison")
        tweets: list[Result] = [Tweet(id=draft.user_id, content=draft.content) for draft in drafts]
        return tweets, Moment("0123456789", Lsn(len(self.groups)))


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
    """If a group fails unexpectedly, its drafts are retried one by one."""
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([_draft(1), _draft(2, "poison"), _draft(3)])
    await commits.close()
    assert isinstance(answers[1], InternalError)
    assert [a.id for a in answers if isinstance(a, Tweet)] == [1, 3]


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
    """The queue is limited, so that a flood of tweets cannot fill the memory."""
    monkeypatch.setattr(group_commit, "MAX_WAITING", 2)
    commits = GroupCommit(_Store().create)
    with pytest.raises(OverloadedError):
        await commits.submit([_draft(n) for n in range(3)])
