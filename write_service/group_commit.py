"""Group commit: tweets that arrive at about the same time share a transaction.

A commit waits for the disk once, however many tweets it holds. So sharing a transaction makes
writes an order of magnitude cheaper (docs/decisions/0003-group-commit.md has the figures). While
one transaction commits, the tweets of the next one gather. Each caller is answered after the commit
that holds their tweet.

A transaction costs as much by itself as dozens of tweets in it. So the second of the two
transactions begins only once many tweets wait for it, or the first one takes long
(docs/decisions/0038-fuller-groups.md).

A batch is committed piece by piece, each after the one before it, so that its tweets get their ids
in its order. While single tweets arrive, only one group at a time takes about one piece of all
batches, whose callers take turns. So a single tweet waits for no batch before its transaction.

An author whose row another transaction has locked does not hold up the others: the drafts of this
author are set aside, and tried by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fanfare.common.v1.common_pb2 import Tweet

from core.errors import FanfareError, InternalError, OverloadedError, UserBusyError
from core.feed.history import Lsn, Moment
from core.runtime.callers import CALLER
from core.runtime.fair_queue import FairQueue
from write_service.drafts import TweetDraft
from write_service.locked_authors import LockedAuthors
from write_service.metrics import GROUP_TWEETS
from write_service.rollbacks import RequestIdLockedError, RolledBackError

LOG = logging.getLogger(__name__)
# Limits: single tweets in a transaction, such drafts in the queue, and transactions at a time.
MAX_GROUP = 1000
MAX_WAITING = 20_000
COMMITTERS = 2
# While a transaction of single tweets is under way, another one begins when this many tweets wait,
# or when the first one has taken this long. Fewer tweets are sooner done in the transaction after
# it, which they share with those that arrive meanwhile.
SECOND_GROUP = 16
PATIENCE_SECONDS = 0.02
# While single tweets arrive, a piece of a batch has at most this many drafts, and a transaction
# takes pieces until they have that many. After SINGLE_SECONDS without any, both are MAX_GROUP.
PIECE = 100
SINGLE_SECONDS = 1.0
# While single tweets arrive, pieces pause for this multiple of the duration of each transaction
# that had some.
PAUSE_FACTOR = 1.0
# Drafts in all batches that are not answered yet. They have a limit of their own, so that batches
# never cause single tweets to be refused.
MAX_IN_BATCHES = 20_000
# No database ever reaches this LSN.
UNREACHABLE_LSN = Lsn(1 << 62)

Result = Tweet | FanfareError
"""A created tweet, or the reason why it was not created."""
_Answer = tuple[Result, Moment | None]
"""A result, and a moment at or after the commit if there was one."""


class CreateTweets(Protocol):
    """Creates tweets in one transaction."""

    async def __call__(self, drafts: Sequence[TweetDraft]) -> tuple[list[Result], Moment]:
        """Return the result for each draft, in order, and a moment at or after the commit.

        A draft whose author is locked gets UserBusyError.

        Raises:
            FanfareError: the tweets are not known to have been created.
            RolledBackError: none was created, but some may be in smaller groups.
        """


@dataclass(slots=True)
class _Waiting:
    """A draft that waits for its transaction."""

    draft: TweetDraft
    done: asyncio.Future[_Answer]

    @property
    def author_id(self) -> int:
        """The author of the draft."""
        return self.draft.user_id

    def answer(self, result: Result, moment: Moment | None) -> None:
        """Answer the caller, unless it has been cancelled."""
        if not self.done.done():
            self.done.set_result((result, moment))


class GroupCommit:
    """A queue of drafts, which are committed in groups by up to two transactions at a time."""

    def __init__(self, create: CreateTweets) -> None:
        """Prepare the queue; start() begins to commit from it."""
        self._create = create
        self._singles: deque[_Waiting] = deque()
        self._single_at = -math.inf
        """When the last single draft was submitted, in time.monotonic() seconds."""
        self._pieces: FairQueue[list[_Waiting]] = FairQueue()
        self._groups_with_pieces = 0
        """How many of the transactions in progress have pieces of batches."""
        self._patience: asyncio.TimerHandle | None = None
        """The timer of the last transaction of single drafts, until it fires or that one ends."""
        self._is_pausing = False
        """Whether there is a pause after such a transaction, while single drafts arrive."""
        self._in_batches = 0
        self._batches_done = asyncio.Event()
        self._batches_done.set()
        self._locked = LockedAuthors(self._commit_alone, _answer_busy, self._enqueue)
        self._arrived = asyncio.Event()
        self._closing = False
        self._committers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to commit what is submitted."""
        self._committers = [asyncio.create_task(self._commit_groups()) for _ in range(COMMITTERS)]

    async def close(self) -> None:
        """Commit what has been submitted, and stop."""
        await self._batches_done.wait()
        self._closing = True
        self._arrived.set()
        await asyncio.gather(*self._committers)
        await self._locked.settle()
        while group := self._take_singles():
            await self._commit(group)
            await self._locked.settle()

    async def submit(self, drafts: Sequence[TweetDraft]) -> tuple[list[Result], Moment | None]:
        """Create tweets, and return when all of them are committed or have failed.

        A batch whose caller is cancelled ends after the piece that is in the queue.

        Returns:
            The result for each draft, in order; and a moment at or after the commits, or None if
            there was no commit.

        Raises:
            OverloadedError: too many drafts wait already; none of these was accepted.
        """
        if len(drafts) > 1:
            answers = await self._submit_batch(drafts)
        else:
            if len(self._singles) + len(self._locked) + len(drafts) > MAX_WAITING:
                raise OverloadedError
            self._single_at = time.monotonic()
            singles = _waiting(drafts)
            self._enqueue(singles)
            answers = [await waiting.done for waiting in singles]
        return [result for result, _ in answers], _latest([moment for _, moment in answers])

    async def _submit_batch(self, drafts: Sequence[TweetDraft]) -> list[_Answer]:
        """Submit one piece after another; return the answer to each draft."""
        if self._in_batches + len(drafts) > MAX_IN_BATCHES:
            raise OverloadedError
        self._in_batches += len(drafts)
        self._batches_done.clear()
        answers: list[_Answer] = []
        busy: set[int] = set()
        try:
            while len(answers) < len(drafts):
                piece = _waiting(drafts[len(answers) : len(answers) + self._batch_room])
                # The caller has waited for these authors already.
                _answer_busy([waiting for waiting in piece if waiting.author_id in busy])
                if left := [waiting for waiting in piece if not waiting.done.done()]:
                    self._pieces.add(CALLER.get(), left)
                    self._arrived.set()
                for waiting in piece:
                    answer = await waiting.done
                    answers.append(answer)
                    if isinstance(answer[0], UserBusyError):
                        busy.add(waiting.author_id)
        finally:
            self._in_batches -= len(drafts)
            if not self._in_batches:
                self._batches_done.set()
        return answers

    def _enqueue(self, waiting: Sequence[_Waiting]) -> None:
        self._singles.extend(waiting)
        self._arrived.set()

    @property
    def _are_singles_recent(self) -> bool:
        return time.monotonic() - self._single_at < SINGLE_SECONDS

    @property
    def _batch_room(self) -> int:
        """How many drafts of batches a transaction takes, and a piece has at most."""
        return PIECE if self._are_singles_recent else MAX_GROUP

    @property
    def _may_take_pieces(self) -> bool:
        """Whether pieces wait, and may be taken now.

        While single drafts arrive, one transaction is left to them, and after each transaction with
        pieces there is a pause, because what follows a commit keeps the machine busy as well.
        """
        if not self._are_singles_recent:
            return self._pieces.count > 0
        is_one_left = self._groups_with_pieces < COMMITTERS - 1
        return self._pieces.count > 0 and is_one_left and not self._is_pausing

    @property
    def _may_take_singles(self) -> bool:
        """Whether single drafts wait, and may be taken now; few of them wait for the others."""
        return len(self._singles) >= (SECOND_GROUP if self._patience else 1)

    def _take_singles(self) -> list[_Waiting]:
        count = min(MAX_GROUP, len(self._singles))
        return [self._singles.popleft() for _ in range(count)]

    def _take_pieces(self) -> list[_Waiting]:
        room = self._batch_room
        taken: list[_Waiting] = []
        while self._may_take_pieces and len(taken) < room:
            taken += self._pieces.remove_next()
        return taken

    async def _commit_groups(self) -> None:
        while True:
            await self._arrived.wait()
            of_batches = self._take_pieces()
            singles = self._take_singles() if of_batches or self._may_take_singles else []
            self._groups_with_pieces += bool(of_batches)
            is_idle = not self._may_take_singles and not self._may_take_pieces
            if is_idle and not self._closing:
                self._arrived.clear()
            taken = singles + of_batches
            group = [waiting for waiting in taken if not self._locked.hold_if_locked(waiting)]
            began = time.monotonic()
            if group and not of_batches:
                await self._commit_singles(group)
            elif group:
                await self._commit(group)
            elif self._closing and is_idle:
                return
            if of_batches:
                self._groups_with_pieces -= 1
                self._pause(PAUSE_FACTOR * (time.monotonic() - began))
            if self._may_take_pieces:
                self._arrived.set()

    async def _commit_singles(self, group: Sequence[_Waiting]) -> None:
        """Commit a group; meanwhile, unless it takes long, few single drafts wait for its end."""
        loop = asyncio.get_running_loop()
        timer = self._patience = loop.call_later(PATIENCE_SECONDS, self._end_patience)
        await self._commit(group)
        if self._patience is timer:
            timer.cancel()
            self._end_patience()

    def _end_patience(self) -> None:
        self._patience = None
        self._arrived.set()

    def _pause(self, seconds: float) -> None:
        """Take no pieces for a while if single drafts arrive."""
        self._is_pausing = True
        # The timer ends the pause. It may fire early, so comparing times in it could keep the
        # pause, and nothing else would wake a committer.
        asyncio.get_running_loop().call_later(seconds, self._end_pause)

    def _end_pause(self) -> None:
        self._is_pausing = False
        self._arrived.set()

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        """Commit a group, and set the drafts of locked authors aside."""
        try:
            results, moment = await self._results(group)
        except RolledBackError:
            # Some draft is at fault. It is found in smaller and smaller groups; the others succeed.
            half = len(group) // 2
            await self._commit(group[:half])
            await self._commit(group[half:])
            return
        for waiting, result in zip(group, results, strict=True):
            if isinstance(result, UserBusyError):
                self._locked.hold(waiting)
            else:
                waiting.answer(result, moment)

    async def _commit_alone(self, waiting: _Waiting) -> bool:
        """Commit one draft and answer its caller; return False if its author is locked."""
        (result,), moment = await self._results([waiting])
        if isinstance(result, UserBusyError):
            return False
        waiting.answer(result, moment)
        return True

    async def _results(self, group: Sequence[_Waiting]) -> tuple[Sequence[Result], Moment | None]:
        """Commit a group; return the result of each draft, and a moment at or after the commit.

        Raises:
            RolledBackError: the group, which has several drafts, should be tried in smaller groups.
        """
        try:
            GROUP_TWEETS.observe(len(group))
            return await self._create([waiting.draft for waiting in group])
        except FanfareError as error:
            return [error] * len(group), None
        except RolledBackError as error:
            if len(group) > 1:
                LOG.warning(
                    "group commit rolled back; trying smaller groups: tweets=%d error=%r",
                    len(group),
                    error.__cause__,
                )
                raise
            if isinstance(error, RequestIdLockedError):
                return [UserBusyError(group[0].author_id)], None
            LOG.exception("tweet cannot be created")
        except Exception:
            # Perhaps after the commit, so nothing is tried again.
            LOG.exception("group commit failed: tweets=%d", len(group))
        return [InternalError()] * len(group), None


def _waiting(drafts: Sequence[TweetDraft]) -> list[_Waiting]:
    loop = asyncio.get_running_loop()
    return [_Waiting(draft, loop.create_future()) for draft in drafts]


def _answer_busy(group: Sequence[_Waiting]) -> None:
    for waiting in group:
        waiting.answer(UserBusyError(waiting.author_id), None)


def _latest(moments: Sequence[Moment | None]) -> Moment | None:
    """Return the latest of the moments, or None if all are None."""
    known = [moment for moment in moments if moment is not None]
    if len({moment.history for moment in known}) > 1:
        # A new history began between the commits, and the earlier ones may be lost. A consistency
        # token that no database satisfies keeps readers from relying on them.
        return Moment(known[0].history, UNREACHABLE_LSN)
    return max(known, key=lambda moment: moment.lsn, default=None)
