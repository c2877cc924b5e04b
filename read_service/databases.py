"""Runs each query on a Postgres server that is fresh enough for it: the replica or the primary."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, LiteralString, Protocol, TypeVar

from psycopg.rows import dict_row

from core.errors import DatabaseUnavailableError
from core.runtime.metrics import METRICS, Metric
from core.storage.circuit_breaker import CircuitBreaker
from core.storage.queries import load_queries
from core.storage.shares import Cost
from read_service.freshness import Answer, Freshness
from read_service.servers import Connection, Server

LOG = logging.getLogger(__name__)
SQL = load_queries("read_service")
# After this many failures in a row, the replica is not asked for a while. Otherwise each read would
# wait until the pool gives up connecting to it.
REPLICA_FAILURES_TO_OPEN = 3
REPLICA_OPEN_SECONDS = 5.0
# The queries that are not cheap.
COSTS = {
    "home_timeline": Cost.EXPENSIVE,
    "newest_ids": Cost.BUILD,
    "newest_ids_of_authors": Cost.BUILD,
}


class RowWithId(Protocol):
    """A row that is identified by its id."""

    @property
    def id(self) -> int:
        """The id."""


Row = TypeVar("Row")
IdRow = TypeVar("IdRow", bound=RowWithId)


class Databases:
    """The primary, and a replica that answers the queries for which it is fresh enough.

    A query goes to the replica. The primary answers it when the replica is not fresh enough, does
    not answer, or is left out. A replica that does not answer is not asked for a few seconds.

    Each method takes the name of a statement in queries.sql, its parameters, the freshness that
    the answer must have, and the class of its rows, whose fields are named like the columns.

    Raises, in each method:
        NotYetConsistentError: no server that answers has reached the consistency token.
        ConsistencyTokenLostError: what the consistency token stands for may be lost.
        OtherHistoryError: Redis is at another history than the database.
        DatabaseUnavailableError: no server answers.
        OverloadedError: the caller has too many statements waiting, or there were too many other
            callers for too long.
    """

    def __init__(
        self,
        primary: Server,
        replica: Server,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use these servers.

        Args:
            primary: the primary.
            replica: the replica; without one, the primary again.
            clock: seconds; tests pass their own.
        """
        self._primary = primary
        self._replica = replica
        self.is_replica_used = replica is not primary
        """Set to False to leave the replica out."""
        self._replica_breaker = CircuitBreaker(
            REPLICA_FAILURES_TO_OPEN, REPLICA_OPEN_SECONDS, _note_replica_down, clock
        )

    async def rows(
        self, query: str, parameters: Mapping[str, Any], freshness: Freshness, row: type[Row]
    ) -> list[Row]:
        """Return the rows, which may be old if the replica lags."""
        found = await self._replica_rows(query, parameters, freshness, row)
        if found is None:
            found = await self._primary_rows(query, parameters, freshness, row)
        return found

    async def row(
        self, query: str, parameters: Mapping[str, Any], freshness: Freshness, row: type[Row]
    ) -> Row | None:
        """Return the first row, or None if the primary has none either."""
        found = await self._replica_rows(query, parameters, freshness, row)
        if found:
            return found[0]
        METRICS.add(Metric.REPLICA_LACKED, found is not None)
        found = await self._primary_rows(query, parameters, freshness, row)
        return found[0] if found else None

    async def rows_by_id(
        self, query: str, ids: Sequence[int], freshness: Freshness, row: type[IdRow]
    ) -> dict[int, IdRow]:
        """Return the rows with these ids, by id; an id is left out if the primary lacks it too."""
        on_replica = await self._replica_rows(query, {"ids": [*ids]}, freshness, row)
        found = {found.id: found for found in on_replica or ()}
        missing = [id_ for id_ in ids if id_ not in found]
        if missing:
            METRICS.add(Metric.REPLICA_LACKED, on_replica is not None)
            rest = await self._primary_rows(query, {"ids": missing}, freshness, row)
            found |= {found.id: found for found in rest}
        return found

    async def _replica_rows(
        self, query: str, parameters: Mapping[str, Any], freshness: Freshness, row: type[Row]
    ) -> list[Row] | None:
        """Return the replica's rows, or None if it cannot answer and the primary must."""
        if not self.is_replica_used or self._replica_breaker.is_open:
            return None
        try:
            async with self._replica.connection(_cost(query)) as connection:
                is_fresh, found = await _fetch(connection, query, parameters, freshness, row)
        except DatabaseUnavailableError as error:
            METRICS.add(Metric.REPLICA_DOWN)
            self._replica_breaker.record_failure(error)
            return None
        self._replica_breaker.record_success()
        METRICS.add(Metric.REPLICA_BEHIND, not is_fresh)
        return found if is_fresh else None

    async def _primary_rows(
        self, query: str, parameters: Mapping[str, Any], freshness: Freshness, row: type[Row]
    ) -> list[Row]:
        try:
            async with self._primary.connection(_cost(query)) as connection:
                is_fresh, found = await _fetch(connection, query, parameters, freshness, row)
        except DatabaseUnavailableError as error:
            if freshness.unavailable_error is None:
                raise
            raise freshness.unavailable_error from error
        if not is_fresh:
            raise freshness.refusal(is_fresh)
        return found


def _note_replica_down(error: Exception) -> None:
    LOG.warning(
        "replica does not answer; asking the primary for %.0f s: error=%s",
        *(REPLICA_OPEN_SECONDS, error.__cause__ or error),
    )


def _cost(query: str) -> Cost:
    return COSTS.get(query, Cost.CHEAP)


@cache
def statement(query: str, question: LiteralString | None) -> LiteralString:
    """Return the text of a query, which runs only if the answer to the question is true.

    Args:
        query: its name in queries.sql.
        question: what the server is asked in the same statement; None: the query just runs.
    """
    if question is None:
        return SQL[query]
    return SQL["if_fresh"].format(question=question, query=SQL[query])


async def _fetch(
    connection: Connection,
    query: str,
    parameters: Mapping[str, Any],
    freshness: Freshness,
    row: type[Row],
) -> tuple[Answer, list[Row]]:
    """Return the server's answer to the question of the freshness, and the rows.

    The rows must not be used unless the answer is True.
    """
    text = statement(query, freshness.question)
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(text, {**parameters, **freshness.parameters})
        found = await cursor.fetchall()
    if freshness.question is None:
        return True, [row(**columns) for columns in found]
    answers = [columns.pop("is_fresh") for columns in found]
    # A query without rows still has one that holds the answer.
    rows = [row(**columns) for columns in found if columns.pop("is_row")]
    return answers[0] if answers else None, rows
