"""Statements that share a round trip, on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from helpers.fanfare import Fanfare

from core.storage.postgres import Connection
from core.storage.round_trips import (
    RoundTrip,
    Statement,
    bigint,
    bigints,
    byteas,
    check,
    only_row,
    texts,
    timestamptz,
)

ONE = Statement("one", "SELECT 1 AS value")
DIVIDE = Statement("divide", "SELECT 1 / $1::bigint AS value")
MISSING = Statement("missing", "SELECT no_function() AS value")


@pytest.fixture
async def connection(fanfare: Fanfare) -> AsyncIterator[Connection]:
    """Yield a connection of its own."""
    connection = await Connection.connect(fanfare.settings.primary_dsn(), autocommit=True)
    yield connection
    await connection.close()


def _value(value: int) -> int:
    return value


async def test_parameters_arrive_unchanged(connection: Connection) -> None:
    """Every type of parameter can be sent, also an empty array."""
    values: dict[str, Any] = {
        "integer": -(1 << 63),
        "integers": [1, -1, (1 << 63) - 1],
        "words": ["", "naïve 🎺", "x" * 10_000],
        "chunks": [b"", b"\x00\xff"],
        "nothing": [],
        "time": datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    }
    statement = Statement(
        "all",
        "SELECT $1::bigint AS integer, $2::bigint[] AS integers, $3::text[] AS words,"
        " $4::bytea[] AS chunks, $5::bigint[] AS nothing, $6::timestamptz AS time",
    )
    trip = RoundTrip(connection)
    trip.add(
        statement,
        bigint(values["integer"]),
        bigints(values["integers"]),
        texts(values["words"]),
        byteas(values["chunks"]),
        bigints([]),
        timestamptz(values["time"]),
    )
    (result,) = await trip.run()
    assert only_row(connection, result, dict) == values


async def test_a_failure_ends_at_the_next_sync(connection: Connection) -> None:
    """What comes after it up to there is not executed, and what comes later is."""
    trip = RoundTrip(connection)
    trip.add(DIVIDE, bigint(0))
    trip.add(ONE)
    trip.sync()
    trip.add(ONE)
    failed, left_out, later = await trip.run()
    with pytest.raises(psycopg.errors.DivisionByZero):
        check(failed)
    with pytest.raises(psycopg.errors.PipelineAborted):
        check(left_out)
    assert only_row(connection, later, _value) == 1
    cursor = await connection.execute("SELECT 2")
    assert await cursor.fetchone() == (2,)


async def test_a_statement_that_cannot_be_prepared_says_why(connection: Connection) -> None:
    """It is prepared again with the next round trip, since the database may be migrated then."""
    for _ in range(2):
        trip = RoundTrip(connection)
        trip.add(MISSING)
        trip.sync()
        trip.add(ONE)
        failed, later = await trip.run()
        with pytest.raises(psycopg.errors.UndefinedFunction):
            check(failed)
        check(later)


async def test_a_statement_is_prepared_once(connection: Connection) -> None:
    """The next round trips of the connection only execute it."""
    for _ in range(3):
        trip = RoundTrip(connection)
        trip.add(DIVIDE, bigint(1))
        trip.add(DIVIDE, bigint(1))
        for result in await trip.run():
            assert only_row(connection, result, _value) == 1
    cursor = await connection.execute("SELECT name FROM pg_prepared_statements")
    assert await cursor.fetchall() == [("divide",)]


async def test_without_a_session_of_its_own_nothing_stays_prepared(connection: Connection) -> None:
    """A pooler would give the session to others, and another session to this connection."""
    connection.prepare_threshold = None
    for _ in range(2):
        trip = RoundTrip(connection)
        trip.add(DIVIDE, bigint(1))
        trip.add(MISSING)
        trip.sync()
        trip.add(ONE)
        divided, failed, later = await trip.run()
        assert only_row(connection, divided, _value) == 1
        with pytest.raises(psycopg.errors.UndefinedFunction):
            check(failed)
        assert only_row(connection, later, _value) == 1
    cursor = await connection.execute("SELECT count(*) FROM pg_prepared_statements")
    assert await cursor.fetchone() == (0,)


async def test_a_rollback_of_psycopg_does_not_lose_the_statement(connection: Connection) -> None:
    """After a rollback psycopg deallocates all statements, also those that are not its own."""
    for _ in range(2):
        trip = RoundTrip(connection)
        trip.add(ONE)
        (result,) = await trip.run()
        assert only_row(connection, result, _value) == 1
        await connection.execute("SELECT 1", prepare=True)
        async with connection.transaction(force_rollback=True):
            await connection.execute("SELECT 1")
    cursor = await connection.execute("SELECT count(*) FROM pg_prepared_statements")
    assert await cursor.fetchone() == (0,)


async def test_a_cancelled_round_trip_closes_the_connection(connection: Connection) -> None:
    """Nobody may use a connection on which the answers to lost questions arrive."""
    trip = RoundTrip(connection)
    trip.add(Statement("sleep", "SELECT pg_sleep(60)"))
    running = asyncio.create_task(trip.run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert connection.closed


async def test_a_lost_connection_is_an_operational_error(connection: Connection) -> None:
    """What was done is not known then, so nothing may be repeated."""
    trip = RoundTrip(connection)
    trip.add(
        Statement("end", "SELECT pg_terminate_backend($1::bigint::int)"),
        bigint(connection.info.backend_pid),
    )
    trip.sync()
    trip.add(ONE)
    with pytest.raises(psycopg.OperationalError):
        await trip.run()
    assert connection.closed
