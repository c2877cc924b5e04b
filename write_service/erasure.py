"""Erasing deleted users, in steps that are each one bounded transaction.

DeleteUser marks the user as deleted and takes the first step in the same transaction. From then on
the user does not exist for readers and commands. Most users are gone completely with the first
step. A user with more tweets or follows than one step erases is erased by the Eraser, which runs in
every write process, beside the commands. The last step deletes the user's row.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row, scalar_row

from core.errors import FanfareError, UserBusyError, UserNotFoundError
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import Connection
from core.storage.postgres_pool import Database
from core.storage.queries import load_queries
from write_service import events
from write_service.events import OutboxEvent
from write_service.outbox import CHANNEL, enqueue_events

LOG = logging.getLogger(__name__)
SQL = load_queries("write_service")

# How many tweets and followers a step erases together, and as many request ids: the first step, and
# the later ones, which are shorter so that commands are not delayed for long.
FIRST_STEP_ROWS = 5000
STEP_ROWS = 250
# How many follows by the user a step erases. All that the default of FANFARE_MAX_FOLLOWING allows,
# so that the user's home timeline is gone with the first step.
STEP_FOLLOWING = 10_000
# How many events are built and enqueued before other tasks get their turn.
SLICE_EVENTS = 500
# The pause after a step, as a multiple of its duration, so that commands get most of the database.
PAUSE_FACTOR = 3.0
# While more events than this wait for the relay, no step adds to them.
MAX_UNSENT_EVENTS = 20_000
# How long to wait before looking for deleted users again, and after a failure.
IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class _DeletedUser:
    user_id: int
    seconds: float
    """How long ago the user was deleted."""


@dataclass(frozen=True)
class _Edge:
    follower_id: int
    followed_id: int


@dataclass(frozen=True)
class ErasureStep:
    """What a step did."""

    events: int
    """How many tweets and follows were erased; there is an event for each."""
    is_last: bool
    """Whether nothing is left of the user."""


async def delete_user(connection: Connection, user_id: int) -> None:
    """Mark a user as deleted, end the user's sessions, and take the first step of the erasure.

    Args:
        connection: must be in a transaction.
        user_id: whom to delete.

    Raises:
        UserNotFoundError: there is no such user.
        UserBusyError: another transaction holds the user.
    """
    user = {"user_id": user_id}
    await connection.execute(SQL["limit_lock_wait"])
    try:
        locked = await connection.execute(SQL["lock_user_for_deletion"], user)
    except LockNotAvailable as error:
        raise UserBusyError(user_id) from error
    await connection.execute(SQL["lift_lock_wait"])
    if not locked.rowcount:
        raise UserNotFoundError(user_id)
    await connection.execute(SQL["end_account"], user)
    await connection.execute(SQL["mark_deleted"], user)
    await connection.execute(SQL["delete_sessions_of_user"], user)
    step = await erase(connection, user_id, FIRST_STEP_ROWS)
    if not step.is_last:
        # Removes the cached home timeline. Another such event comes with the last step.
        await enqueue_events(connection, [events.user_deleted(user_id)])
        LOG.info("erasing user in the background: user_id=%d erased=%d", user_id, step.events)


async def erase(connection: Connection, user_id: int, rows: int) -> ErasureStep:
    """Take one step: erase the user's newest tweets and follows, with an event for each.

    Args:
        connection: must be in a transaction that holds the lock of the user's row.
        user_id: a user who is marked as deleted.
        rows: how many tweets and followers to erase together at most, and how many request ids.
    """
    user = {"user_id": user_id}
    tweets = connection.cursor(row_factory=scalar_row)
    await tweets.execute(SQL["erase_newest_tweets"], user | {"limit": rows})
    tweet_ids = await tweets.fetchall()
    follows = connection.cursor(row_factory=class_row(_Edge))
    limits = {"following": STEP_FOLLOWING, "followers": rows - len(tweet_ids)}
    await follows.execute(SQL["erase_follows"], user | limits)
    # After the statements that lock the rows, so that the ids of the events are above those of
    # every change that this transaction has waited for.
    for ids in _slices(tweet_ids):
        await _enqueue(connection, [events.tweet_deleted(id_, user_id) for id_ in ids])
    while edges := await follows.fetchmany(SLICE_EVENTS):
        unfollows = [events.user_unfollowed(edge.follower_id, edge.followed_id) for edge in edges]
        await _enqueue(connection, unfollows)
    await connection.execute(SQL["erase_request_ids"], user | {"limit": rows})
    is_last = bool((await connection.execute(SQL["delete_erased_user"], user)).rowcount)
    if is_last:
        await enqueue_events(connection, [events.user_deleted(user_id)])
    return ErasureStep(len(tweet_ids) + follows.rowcount, is_last)


async def _enqueue(connection: Connection, changes: Sequence[OutboxEvent]) -> None:
    await enqueue_events(connection, changes)
    await asyncio.sleep(0)  # a statement may be done without waiting


def _slices(ids: Sequence[int]) -> Sequence[Sequence[int]]:
    return [ids[start : start + SLICE_EVENTS] for start in range(0, len(ids), SLICE_EVENTS)]


class Eraser:
    """Erases deleted users in the background, a step of each in turn."""

    def __init__(self, database: Database) -> None:
        """Erase users of this database, the primary."""
        self._database = database
        self._last_id = 0
        """The user of the last step."""

    async def run(self) -> None:
        """Erase deleted users until cancelled. What is left is found again after a restart."""
        while True:
            pause = IDLE_SECONDS
            try:
                begun = time.monotonic()
                if await self._step():
                    pause = PAUSE_FACTOR * (time.monotonic() - begun)
            except FanfareError as error:
                LOG.warning("erasure step failed; retrying: error=%s", error)
            except Exception:
                LOG.exception("erasure step failed unexpectedly; retrying")
            await asyncio.sleep(pause)

    async def _step(self) -> bool:
        """Take the next step; return False if there is none to take now."""
        async with self._database.connection() as connection:
            unsent = connection.cursor(row_factory=scalar_row)
            await unsent.execute(SQL["count_unsent_events"], {"limit": MAX_UNSENT_EVENTS})
            if await unsent.fetchone() == MAX_UNSENT_EVENTS:
                return False
            async with connection.transaction():
                found = connection.cursor(row_factory=class_row(_DeletedUser))
                await found.execute(SQL["lock_next_deleted_user"], {"after": self._last_id})
                user = await found.fetchone()
                if user is None:
                    # The next round begins with the lowest id.
                    is_round_over, self._last_id = self._last_id > 0, 0
                    return is_round_over
                self._last_id = user.user_id
                step = await erase(connection, user.user_id, STEP_ROWS)
            await connection.execute(SQL["wake_relay"], {"channel": CHANNEL})
        METRICS.add(Metric.ERASURE_STEP)
        METRICS.add(Metric.USER_ERASED, step.is_last)
        LOG.info(
            "erasing user: user_id=%d erased=%d seconds_since_deletion=%.1f is_last_step=%s",
            *(user.user_id, step.events, user.seconds, step.is_last),
        )
        return True
