"""Statements that are sent to Postgres together and answered together.

This is for the few transactions that most of the load consists of. psycopg's own pipeline mode
saves the waiting for results as well, but it sends each statement by itself. That costs a system
call on either side and wakes Postgres up for each (docs/decisions/0038-fuller-groups.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from struct import Struct
from typing import TypeVar

from psycopg import OperationalError, generators
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import PipelineAborted, error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from core.storage.postgres import Connection

Row = TypeVar("Row")
_ARRAY = Struct(">5i")
_LENGTH = Struct(">i")
_BIGINT_OID = 20
_BYTEA_OID = 17
_TEXT_OID = 25
# Postgres counts microseconds from here.
_TIME_ZERO = datetime(2000, 1, 1, tzinfo=UTC)


class _Kind(Enum):
    """What a message asks Postgres to do."""

    PREPARE = auto()
    EXECUTE = auto()
    SYNC = auto()


@dataclass(frozen=True)
class Statement:
    """A statement that each connection prepares when it first executes it.

    A connection through a pooler prepares it for one execution only.
    """

    name: str
    """A name that no other Statement has."""
    sql: str
    """With $1, $2, … for the parameters, which are sent in binary format."""


class RoundTrip:
    """Statements for one connection, in order; run() sends them and returns their results."""

    def __init__(self, connection: Connection) -> None:
        """Start without any statement; nobody else may use the connection until run() returns."""
        self._connection = connection
        self._steps: list[tuple[Statement, Sequence[bytes]] | None] = []

    def add(self, statement: Statement, *parameters: bytes) -> None:
        """Add a statement; the functions of this module encode its parameters."""
        self._steps.append((statement, parameters))

    def sync(self) -> None:
        """End what has been added so far: those after it run even if one of these fails.

        Outside a transaction, the statements between two syncs are a transaction of their own.
        """
        self._steps.append(None)

    async def run(self) -> list[PGresult]:
        """Send all statements, and return the result of each, which may be an error.

        If that fails or is cancelled, the connection is closed, and what was done is not known.

        Raises:
            psycopg.OperationalError: the connection broke.
        """
        self.sync()
        pgconn = self._connection.pgconn
        pgconn.enter_pipeline_mode()
        try:
            results = await self._connection.wait(self._exchange())
        except BaseException:
            pgconn.finish()
            raise
        pgconn.exit_pipeline_mode()
        return results

    def _exchange(self) -> PQGen[list[PGresult]]:
        """Send everything, then read everything; psycopg waits where this yields."""
        pgconn = self._connection.pgconn
        sent = self._queue()
        yield from generators.send(pgconn)
        results: list[PGresult] = []
        failed: dict[str, PGresult] = {}
        for kind, name in sent:
            answers = yield from generators.fetch_many(pgconn)
            if len(answers) != 1:
                raise OperationalError("the connection to Postgres was lost")
            if kind is _Kind.EXECUTE:
                results.append(failed.get(name, answers[0]))
            elif kind is _Kind.PREPARE and answers[0].status == ExecStatus.COMMAND_OK:
                self._connection.prepared.add(name)
            elif kind is _Kind.PREPARE:
                failed[name] = answers[0]
        return results

    def _queue(self) -> list[tuple[_Kind, str]]:
        """Have libpq put all messages into its buffer; return what Postgres will answer."""
        pgconn = self._connection.pgconn
        sent = []
        new = {step[0].name: step[0] for step in self._steps if step is not None}
        can_prepare = self._connection.prepare_threshold is not None
        for statement in new.values():
            if can_prepare and statement.name not in self._connection.prepared:
                pgconn.send_prepare(statement.name.encode(), statement.sql.encode())
                # Otherwise a failure would keep Postgres from preparing the next one.
                pgconn.pipeline_sync()
                sent += [(_Kind.PREPARE, statement.name), (_Kind.SYNC, "")]
        for step in self._steps:
            if step is None:
                pgconn.pipeline_sync()
                sent.append((_Kind.SYNC, ""))
                continue
            statement, parameters = step
            formats = [Format.BINARY] * len(parameters)
            if can_prepare:
                name = statement.name.encode()
                pgconn.send_query_prepared(name, parameters, formats, Format.BINARY)
            else:
                sql = statement.sql.encode()
                pgconn.send_query_params(
                    sql, parameters, param_formats=formats, result_format=Format.BINARY
                )
            sent.append((_Kind.EXECUTE, statement.name))
        return sent


def check(result: PGresult) -> None:
    """Raise the error that a result is, if it is one.

    Raises:
        psycopg.Error: the statement failed, or one before it.
    """
    if result.status == ExecStatus.PIPELINE_ABORTED:
        raise PipelineAborted("a statement before this one failed")
    if result.status == ExecStatus.FATAL_ERROR:
        raise error_from_result(result)


def only_row(connection: Connection, result: PGresult, make: Callable[..., Row]) -> Row:
    """Return the row of a result that has one, made from its columns by their names.

    Raises:
        psycopg.Error: the statement failed, or one before it.
    """
    check(result)
    loader = Transformer(connection)
    loader.set_pgresult(result)
    values = loader.load_row(0, tuple) or ()
    names = ((result.fname(number) or b"").decode() for number in range(len(values)))
    return make(**dict(zip(names, values, strict=True)))


def bigint(value: int) -> bytes:
    """Return a parameter of type bigint."""
    return value.to_bytes(8, "big", signed=True)


def timestamptz(time: datetime) -> bytes:
    """Return a parameter of type timestamptz."""
    return bigint((time - _TIME_ZERO) // timedelta(microseconds=1))


def bigints(values: Sequence[int]) -> bytes:
    """Return a parameter of type bigint[]."""
    return _array(_BIGINT_OID, [value.to_bytes(8, "big", signed=True) for value in values])


def texts(values: Sequence[str]) -> bytes:
    """Return a parameter of type text[]."""
    return _array(_TEXT_OID, [value.encode() for value in values])


def byteas(values: Sequence[bytes]) -> bytes:
    """Return a parameter of type bytea[]."""
    return _array(_BYTEA_OID, values)


def _array(oid: int, items: Sequence[bytes]) -> bytes:
    """Return an array of elements that have this type and are already encoded."""
    # One dimension, no nulls, the type, the count, and the lower bound of the index.
    parts = [_ARRAY.pack(1, 0, oid, len(items), 1)]
    for item in items:
        parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)
