"""Group commit: tweets that arrive at about the same time share a transaction.

A commit waits for the disk once, however many tweets it holds. So sharing a transaction makes
writes an order of magnitude cheaper (docs/decisions/0003-group-commit.md has the figures). While
one transaction commits, the tweets of the next one gather. Each caller is answered after the commit
that holds their tweet.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fanfare.common.v1.common_pb2 import Tweet

from core.errors import FanfareError, InternalError, OverloadedError
from core.feed.history import Lsn, Moment
from write_service.drafts import TweetDraft

LOG = logging.getLogger(__name__)
# Limits: tweets in a transaction, drafts in the queue, and transactions at a time.
MAX_GROUP = 1000
MAX_WAITING = 20_000
COMMITTERS = 2
# No database ever reaches this LSN.
UNREACHABLE_LSN = Lsn(1 << 62)

Result = Tweet | FanfareError
"""A created tweet, or the reason why it was not created."""


class CreateTweets(Protocol):
    """Creates tweets in one transaction."""

    async def __call__(self, drafts: Sequence[TweetDraft]) -> tuple[list[Result], Moment]:
        """Return the result for each draft, in order, and a moment at or after the commit.

        Raises:
            FanfareError: the tweets are not known to have been created.
        """


@dataclass(slots=True)
class _Waiting:
    """A draft that waits for its transaction."""

    draft: TweetDraft
    done: asyncio.Future[tuple[Result, Moment | None]]


class GroupCommit:
    """A queue of drafts, which are committed in groups by up to two transactions at a time."""

    def __init__(self, create: CreateTweets) -> None:
        """Prepare the queue; start() begins to commit from it."""
        self._create = create
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._committers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to commit what is submitted."""
        self._committers = [asyncio.create_task(self._commit_groups()) for _ in range(COMMITTERS)]

    async def close(self) -> None:
        """Commit what has been submitted, and stop."""
        self._closing = True
        self._arrived.set()
        await asyncio.gather(*self._committers)

    async def submit(self, drafts: Sequence[TweetDraft]) -> tuple[list[Result], Moment | None]:
        """Create tweets, and return when all of them are committed or have failed.

        Returns:
            The result for each draft, in order; and a moment at or after the commits, or None if
            there was no commit.

        Raises:
            OverloadedError: too many drafts wait already; none of these was accepted.
        """
        if len(self._waiting) + len(drafts) > MAX_WAITING:
            raise OverloadedError
        loop = asyncio.get_running_loop()
        submitted = [_Waiting(draft, loop.create_future()) for draft in drafts]
        self._waiting.extend(submitted)
        self._arrived.set()
        answers = [await waiting.done for waiting in submitted]
        return [result for result, _ in answers], _latest([moment for _, moment in answers])

    async def _commit_groups(self) -> None:
        while True:
            await self._arrived.wait()
            count = min(MAX_GROUP, len(self._waiting))
            group = [self._waiting.popleft() for _ in range(count)]
            if not self._waiting and not self._closing:
                self._arrived.clear()
            if group:
                await self._commit(group)
            elif self._closing:
                return

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        results: Sequence[Result]
        moment: Moment | None = None
        try:
            results, moment = await self._create([waiting.draft for waiting in group])
        except FanfareError as error:
            results = [error] * len(group)
        except Exception:
            LOG.exception("group commit failed: tweets=%d", len(group))
            if len(group) > 1:
                # One of the drafts is at fault. Retried one by one, the others succeed.
                for waiting in group:
                    await self._commit([waiting])
                return
            results = [InternalError()]
        for waiting, result in zip(group, results, strict=True):
            if not waiting.done.done():  # otherwise its caller has been cancelled
                waiting.done.set_result((result, moment))


def _latest(moments: Sequence[Moment | None]) -> Moment | None:
    """Return the latest of the moments, or None if all are None."""
    known = [moment for moment in moments if moment is not None]
    if len({moment.history for moment in known}) > 1:
        # A new history began between the commits, and the earlier ones may be lost. A consistency
        # token that no database satisfies keeps readers from relying on them.
        return Moment(known[0].history, UNREACHABLE_LSN)
    return max(known, key=lambda moment: moment.lsn, default=None)
