"""A stand-in for Postgres, for the tests of group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from fanfare.common.v1.common_pb2 import Tweet

from core.errors import (
    DatabaseUnavailableError,
    UserBusyError,
)
from core.feed.history import Lsn, Moment
from write_service import locked_authors
from write_service.drafts import TweetDraft
from write_service.group_commit import (
    Result,
)
from write_service.rollbacks import RequestIdLockedError, RolledBackError


class GroupStore:
    """Stands for Postgres below a GroupCommit: it may be down, and in which authors may be locked.

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
        """Create tweets, as the CreateTweets protocol says."""
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


def draft_of(user_id: int, content: str = "x") -> TweetDraft:
    """Return a draft."""
    return TweetDraft(user_id, content, None)


def wait_for_locks(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have a locked author waited for as long as this, in seconds."""
    monkeypatch.setattr(locked_authors, "LOCK_POLL_SECONDS", 0.001)
    monkeypatch.setattr(locked_authors, "LOCK_SECONDS", seconds)
