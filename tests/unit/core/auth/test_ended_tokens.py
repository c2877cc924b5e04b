"""Which access tokens ended before they expire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.auth.access_tokens import Caller
from core.auth.ended_tokens import EndedTokens
from core.errors import DatabaseUnavailableError

FOREVER = 2**63 - 1


class _Postgres:
    """Has the table ended_tokens, and counts how often it is read."""

    def __init__(self, *rows: tuple[int, str, int]) -> None:
        self.rows = list(rows)
        self.reads = 0
        self.is_up = True
        self.reading = asyncio.Event()
        self.pause = asyncio.Event()
        self.pause.set()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[_Postgres]:
        if not self.is_up:
            raise DatabaseUnavailableError
        yield self

    async def execute(self, _query: str, _parameters: object) -> _Postgres:
        self.reads += 1
        self.reading.set()
        self.found = list(self.rows)
        await self.pause.wait()
        return self

    async def fetchall(self) -> list[tuple[int, str, int]]:
        return self.found


def _reading(postgres: Any) -> EndedTokens:
    return EndedTokens(postgres)


async def test_a_later_epoch_ends_all_tokens_before_it() -> None:
    """A token of the epoch itself is valid, and so are those of other users and of services."""
    ended = _reading(_Postgres((7, "", 100), (8, "", FOREVER)))
    await ended.refresh()
    valid = [Caller(7, epoch=100), Caller(7, epoch=101), Caller(9), Caller(service="feed")]
    over = [Caller(7), Caller(7, epoch=99), Caller(8, epoch=FOREVER - 1)]
    assert [ended.is_ended(caller) for caller in valid] == [False] * 4
    assert [ended.is_ended(caller) for caller in over] == [True] * 3


async def test_the_end_of_a_session_ends_its_tokens_only() -> None:
    """The other sessions of the user, and tokens without a session, stay valid."""
    ended = _reading(_Postgres((7, "a", 0), (7, "b", 0)))
    await ended.refresh()
    assert [ended.is_ended(Caller(7, session=name)) for name in ("a", "b", "c", "")] == [
        *(True, True, False, False)
    ]
    assert not ended.is_ended(Caller(8, session="a"))


async def test_a_token_stays_ended_while_postgres_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """What was read before still counts; the log says once that nothing new is read."""
    postgres = _Postgres((7, "", 1))
    ended = _reading(postgres)
    await ended.refresh()
    postgres.is_up = False
    for _ in range(3):
        await ended.refresh()
    assert ended.is_ended(Caller(7))
    assert caplog.text.count("cannot read which access tokens ended") == 1
    postgres.is_up = True
    postgres.rows = []
    await ended.refresh()
    assert not ended.is_ended(Caller(7))


async def test_many_changes_at_once_share_a_read_that_began_after_them() -> None:
    """Each refresh() returns only after a read that began after it, and few reads serve many."""
    postgres = _Postgres()
    ended = _reading(postgres)
    postgres.pause.clear()
    first = asyncio.create_task(ended.refresh())
    await postgres.reading.wait()
    postgres.rows = [(7, "", 1)]  # committed after the first read began
    others = [asyncio.create_task(ended.refresh()) for _ in range(50)]
    await asyncio.sleep(0)
    postgres.pause.set()
    await asyncio.gather(first, *others)
    assert ended.is_ended(Caller(7))
    assert postgres.reads == 2
