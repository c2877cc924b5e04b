"""How long connections wait for a silent Postgres, and what happens then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import LiteralString

import psycopg
import pytest
from helpers.fanfare import Fanfare
from helpers.silent_proxy import HOST, SilentProxy

from core.errors import DatabaseUnavailableError
from core.runtime.callers import CALLER
from core.storage.postgres import BlockingConnection, ServerSilentError, connect
from core.storage.postgres_pool import Database

SILENCE_SECONDS = 1.0


@pytest.fixture
def proxy(fanfare: Fanfare) -> Iterator[SilentProxy]:
    """Yield a proxy in front of Postgres."""
    address = psycopg.conninfo.conninfo_to_dict(fanfare.settings.primary_dsn())
    with SilentProxy(int(address["port"] or 0)) as proxy:
        yield proxy


@pytest.fixture
async def database(fanfare: Fanfare) -> AsyncIterator[Database]:
    """Yield a pool of one connection."""
    database = Database(fanfare.settings.primary_dsn(), "test", max_size=1)
    await database.open()
    yield database
    await database.close()


async def _go_silent(database: Database, proxy: SilentProxy) -> None:
    async with (
        database.connection() as connection,
        connection.pipeline(),
        connection.transaction(),
    ):
        await connection.execute("SELECT 1")
        proxy.mute_open()
        cursor = await connection.execute("SELECT 2")
        await cursor.fetchone()


def _dsn(fanfare: Fanfare, proxy: SilentProxy) -> str:
    dsn = fanfare.settings.primary_dsn()
    return psycopg.conninfo.make_conninfo(dsn, host=HOST, port=proxy.port)


async def test_one_silent_connection_replaces_all_that_are_idle(
    fanfare: Fanfare, proxy: SilentProxy
) -> None:
    """Only the first caller waits for the silent connection; the next ones get new connections."""
    dsn = _dsn(fanfare, proxy)
    database = Database(dsn, "test", silence_seconds=SILENCE_SECONDS)
    await database.open()
    try:
        async with (
            database.connection() as one,
            database.connection() as two,
            database.connection() as three,
        ):
            before = {connection.pgconn.backend_pid for connection in (one, two, three)}
        proxy.mute_open()
        with pytest.raises(DatabaseUnavailableError):
            async with database.connection() as connection:
                await connection.execute("SELECT 1")
        for _ in range(4):
            async with database.connection() as connection:
                await connection.execute("SELECT 1")
                assert connection.pgconn.backend_pid not in before
    finally:
        await database.close()


async def test_a_silent_transaction_in_a_pipeline_fails_too(
    fanfare: Fanfare, proxy: SilentProxy
) -> None:
    """Leaving the transaction and the pipeline does not wait for Postgres again."""
    database = Database(_dsn(fanfare, proxy), "test", silence_seconds=SILENCE_SECONDS)
    await database.open()
    try:
        with pytest.raises(DatabaseUnavailableError):
            await _go_silent(database, proxy)
    finally:
        await database.close()


@pytest.mark.parametrize(
    "query", ["SELECT * FROM no_table", "SELECT no_column FROM users", "SELECT no_function()"]
)
async def test_a_database_that_was_not_migrated_is_unavailable(
    fanfare: Fanfare, caplog: pytest.LogCaptureFixture, query: LiteralString
) -> None:
    """Callers are told to retry, and the log says once what the operator must do."""
    database = Database(fanfare.settings.primary_dsn(), "test")
    await database.open()
    try:
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                async with database.connection() as connection:
                    await connection.execute(query)
    finally:
        await database.close()
    assert caplog.text.count("run `fanfare migrate`") == 1


async def test_a_read_only_database_is_unavailable(database: Database) -> None:
    """So is a restored server, until it has replayed its WAL; then its connections can be used."""
    async with database.connection() as connection:
        await connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnavailableError):
        async with database.connection() as connection:
            await connection.execute("UPDATE relay_state SET seen_at = seen_at")
    async with database.connection() as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("UPDATE relay_state SET seen_at = seen_at")


async def test_a_transaction_that_was_left_open_is_reported_as_unavailable(
    database: Database,
) -> None:
    """As after a process was stopped in the middle of a command. Others get a new connection."""
    async with database.connection() as connection:
        await connection.execute("SET transaction_timeout = '20ms'")
    with pytest.raises(DatabaseUnavailableError):
        async with database.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_sleep(20)")
    async with database.connection() as connection:
        await connection.execute("SELECT 1")


async def test_callers_take_turns_for_connections(database: Database) -> None:
    """A caller with many statements delays another one by a single statement."""
    begun: list[str] = []

    async def use(caller: str) -> None:
        CALLER.set((caller,))  # in the context of this task only
        async with database.connection() as connection:
            begun.append(caller)
            await connection.execute("SELECT 1")

    async with asyncio.TaskGroup() as tasks:
        for caller in [*["greedy"] * 20, "other"]:
            tasks.create_task(use(caller))
    assert begun.index("other") <= 2
    assert len(begun) == 21


async def test_a_slow_statement_is_cancelled_and_its_connection_stays(fanfare: Fanfare) -> None:
    """statement_timeout is shorter than silence_seconds, so Postgres answers in time."""
    dsn = fanfare.settings.primary_dsn()
    database = Database(dsn, "test", silence_seconds=SILENCE_SECONDS, max_size=1)
    await database.open()
    try:
        with pytest.raises(DatabaseUnavailableError) as error:
            async with database.connection() as connection:
                await connection.execute("SELECT pg_sleep(5)")
        assert isinstance(error.value.__cause__, psycopg.errors.QueryCanceled)
        async with database.connection() as again:
            assert again is connection
    finally:
        await database.close()


def test_a_blocking_connection_fails_after_silence(fanfare: Fanfare, proxy: SilentProxy) -> None:
    """The statement raises, and the connection is closed."""
    with connect(_dsn(fanfare, proxy), "test", SILENCE_SECONDS) as connection:
        proxy.mute_open()
        with pytest.raises(ServerSilentError):
            connection.execute("SELECT 1")
        assert connection.closed


def test_waiting_for_notifications_is_not_silence(fanfare: Fanfare) -> None:
    """Waiting for notifications may take longer than silence_seconds."""
    with connect(fanfare.settings.primary_dsn(), "test", SILENCE_SECONDS) as connection:
        connection.execute("LISTEN nothing")
        assert list(connection.notifies(timeout=2 * SILENCE_SECONDS)) == []
        assert not connection.closed


def test_a_server_that_trickles_is_not_silent(fanfare: Fanfare, proxy: SilentProxy) -> None:
    """An answer may take longer than silence_seconds if bytes keep arriving."""
    with connect(_dsn(fanfare, proxy), "test", SILENCE_SECONDS) as connection:
        connection.execute("SET statement_timeout = 0")
        proxy.slow(0.05)
        began = time.monotonic()
        rows = _many(connection)
        assert time.monotonic() - began > SILENCE_SECONDS
    assert rows == 200_000


def _many(connection: BlockingConnection) -> int:
    ((text,),) = connection.execute("SELECT repeat('x', 200000)").fetchall()
    return len(text)
