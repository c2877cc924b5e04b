"""Tweets that arrive together commit together.

While one transaction commits, the next one's tweets gather; each caller is answered after the
commit that holds their tweet. A commit costs one fsync whatever it holds, so the group makes the
write path an order of magnitude cheaper than a transaction a tweet (measured in
docs/decisions/0003-group-commit.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from fanfare.common.v1.common_pb2 import Tweet

from core.errors import FanfareError, InternalError, OverloadedError
from core.feed.history import Lsn, Moment
from write_service.drafts import Draft

LOG = logging.getLogger(__name__)
MAX_GROUP = 1000
MAX_WAITING = 20_000
COMMITTERS = 2
NEVER = Lsn(1 << 62)

Result = Tweet | FanfareError
# The results of drafts, in order, and a moment not before their commit.
Create = Callable[[Sequence[Draft]], Awaitable[tuple[list[Result], Moment]]]
_Entry = tuple[Draft, asyncio.Future[tuple[Result, Moment | None]]]


class GroupCommit:
    """Gathers drafts into transactions, two of them under way at a time."""

    def __init__(self, create: Create) -> None:
        self._create = create
        self._waiting: deque[_Entry] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._committers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to commit."""
        self._committers = [asyncio.create_task(self._commit_groups()) for _ in range(COMMITTERS)]

    async def close(self) -> None:
        """Commit what waits, and stop."""
        self._closing = True
        self._arrived.set()
        await asyncio.gather(*self._committers)

    async def submit(self, drafts: Sequence[Draft]) -> tuple[list[Result], Moment | None]:
        """Return, once committed, each tweet or why there is none, in order.

        And a moment not before the commits, None where nothing was committed. Raises
        OverloadedError when too many wait already; then none of the drafts was taken.
        """
        if len(self._waiting) + len(drafts) > MAX_WAITING:
            raise OverloadedError
        loop = asyncio.get_running_loop()
        entries: list[_Entry] = [(draft, loop.create_future()) for draft in drafts]
        self._waiting.extend(entries)
        self._arrived.set()
        answers = [await future for _, future in entries]
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

    async def _commit(self, group: Sequence[_Entry]) -> None:
        results: Sequence[Result]
        moment: Moment | None = None
        try:
            results, moment = await self._create([draft for draft, _ in group])
        except FanfareError as error:
            results = [error] * len(group)
        except Exception:
            LOG.exception("a group of %d tweets failed", len(group))
            if len(group) > 1:
                # One of them has the fault: alone, it fails without its neighbours.
                for entry in group:
                    await self._commit([entry])
                return
            results = [InternalError()]
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():  # done: its caller has gone
                future.set_result((result, moment))


def _latest(moments: Sequence[Moment | None]) -> Moment | None:
    """Return the moment that is not before any of the others."""
    known = [moment for moment in moments if moment is not None]
    if len({moment.history for moment in known}) > 1:
        # The first groups may be lost with their history: no database has come to this moment.
        return Moment(known[0].history, NEVER)
    return max(known, key=lambda moment: moment.lsn, default=None)
