"""Access tokens that were ended before they expire.

A new password or e-mail address, the deletion of a user and the end of a session end access tokens
that were given out before. The transaction that does so inserts a row into the table ended_tokens.
Each process reads the whole table once a second, and after its own changes, and keeps it in memory.
It is nearly always empty, so the check of a call is one look-up in a dict, without any round trip.

While Postgres cannot be read, tokens that other processes end are accepted until they expire.
Refusing all calls instead would make every read depend on the primary.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

from core.auth.access_tokens import LIFE_SECONDS, Caller
from core.errors import DatabaseUnavailableError, OverloadedError
from core.runtime.tasks import running
from core.storage.postgres_pool import Database
from core.storage.queries import load_queries

LOG = logging.getLogger(__name__)
SQL = load_queries("core.auth")
READ_SECONDS = 1.0
# Rows count for longer than tokens are valid, because the clocks of Postgres and of the services
# may differ.
ENDED_SECONDS = LIFE_SECONDS + 300


@dataclass
class _Ended:
    """The access tokens of one user that ended."""

    epoch: int = 0
    """Tokens with an earlier epoch ended."""
    sessions: set[str] = field(default_factory=set)
    """All tokens of these sessions ended."""


class EndedTokens:
    """Tells which access tokens ended early."""

    def __init__(self, database: Database) -> None:
        """Read from the primary, through a pool of its own, so that no caller's work delays it.

        watching() opens and closes the pool.
        """
        self._database = database
        self._by_user: dict[int | None, _Ended] = {}
        self._reading = asyncio.Lock()
        self._reads_begun = 0
        self._is_failing = False

    def is_ended(self, caller: Caller) -> bool:
        """Return whether the access token that names this caller ended."""
        ended = self._by_user.get(caller.user_id)
        return ended is not None and (
            caller.epoch < ended.epoch or caller.session in ended.sessions
        )

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Read once now, and then once a second for as long as the context is open."""
        await self._database.open()
        try:
            await self.refresh()
            async with running(self._run()):
                yield
        finally:
            await self._database.close()

    async def refresh(self) -> None:
        """Take in everything that was committed before this call; only log if Postgres fails."""
        needed = self._reads_begun + 1
        async with self._reading:
            # While this call waited, another one may have begun to read, which is late enough.
            if self._reads_begun < needed:
                self._reads_begun += 1
                await self._read()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(READ_SECONDS)
            await self.refresh()

    async def _read(self) -> None:
        try:
            async with self._database.connection() as connection:
                cursor = await connection.execute(SQL["ended_tokens"], {"seconds": ENDED_SECONDS})
                self._by_user = _by_user(await cursor.fetchall())
        except (DatabaseUnavailableError, OverloadedError, psycopg.Error) as error:
            if not self._is_failing:
                LOG.warning(
                    "cannot read which access tokens ended; those that end meanwhile are accepted "
                    "until they expire: error=%r",
                    error,
                )
            self._is_failing = True
        else:
            if self._is_failing:
                LOG.info("ended access tokens are read again")
            self._is_failing = False


def _by_user(rows: Iterable[tuple[int, str, int]]) -> dict[int | None, _Ended]:
    ended: dict[int | None, _Ended] = {}
    for user_id, session, epoch in rows:
        of_user = ended.setdefault(user_id, _Ended())
        if session:
            of_user.sessions.add(session)
        else:
            of_user.epoch = epoch
    return ended
