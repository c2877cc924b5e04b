"""Tweets that arrive together commit together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from fanfare.common.v1.common_pb2 import Tweet

from core.errors import DatabaseUnavailableError, InternalError, OverloadedError
from core.feed.history import Lsn, Moment
from write_service import group_commit
from write_service.drafts import TweetDraft
from write_service.group_commit import GroupCommit, Result


class _Store:
    """Stands for Postgres: fails a group that holds a poisoned draft, or while it is down."""

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
    """However they are grouped, answers are not mixed up, and groups are few."""
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    answers = await asyncio.gather(*(commits.submit([_draft(n)]) for n in range(500)))
    await commits.close()
    tweets = [tweet for (tweet,), _ in answers]
    assert [tweet.id for tweet in tweets if isinstance(tweet, Tweet)] == list(range(500))
    assert len(store.groups) < 50


async def test_one_bad_row_does_not_fail_its_neighbours() -> None:
    """The poisoned draft alone is an internal error."""
    store = _Store()
    commits = GroupCommit(store.create)
    commits.start()
    answers, _ = await commits.submit([_draft(1), _draft(2, "poison"), _draft(3)])
    await commits.close()
    assert isinstance(answers[1], InternalError)
    assert [a.id for a in answers if isinstance(a, Tweet)] == [1, 3]


async def test_callers_are_told_when_postgres_is_down() -> None:
    """An error of the whole group is everybody's answer, and the next group is tried."""
    store = _Store()
    store.down = True
    commits = GroupCommit(store.create)
    commits.start()
    assert isinstance((await commits.submit([_draft(1)]))[0][0], DatabaseUnavailableError)
    store.down = False
    assert isinstance((await commits.submit([_draft(1)]))[0][0], Tweet)
    await commits.close()


async def test_closing_commits_what_waits() -> None:
    """Nothing that was taken is dropped by a drain."""
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


async def test_the_position_is_that_of_the_last_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafts that were split over groups are all committed at the position that is returned."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", 2)
    commits = GroupCommit(_Store().create)
    commits.start()
    answers, moment = await commits.submit([_draft(n) for n in range(5)])
    await commits.close()
    assert (len(answers), moment) == (5, Moment("0123456789", Lsn(3)))
    assert await commits.submit([]) == ([], None)


async def test_too_many_waiting_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded: a flood is told so instead of filling the memory."""
    monkeypatch.setattr(group_commit, "MAX_WAITING", 2)
    commits = GroupCommit(_Store().create)
    with pytest.raises(OverloadedError):
        await commits.submit([_draft(n) for n in range(3)])
