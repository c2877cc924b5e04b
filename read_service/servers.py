"""What the read service needs of a Postgres server; Database in core/storage provides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, LiteralString, Protocol

from psycopg.rows import AsyncRowFactory, DictRow

from core.storage.shares import Cost


class DictCursor(Protocol):
    """Runs a statement whose rows are dictionaries, with the columns' names as keys."""

    async def execute(self, query: LiteralString, params: Mapping[str, Any]) -> object:
        """Run the statement."""

    async def fetchall(self) -> Sequence[DictRow]:
        """Return all rows."""


class Connection(Protocol):
    """A connection in autocommit: each statement sees what was committed before it began."""

    def cursor(
        self, *, row_factory: AsyncRowFactory[DictRow], binary: bool
    ) -> AbstractAsyncContextManager[DictCursor]:
        """Return a cursor whose rows are dictionaries; binary: in which format they are sent."""


class Server(Protocol):
    """A Postgres server."""

    def connection(self, cost: Cost = Cost.CHEAP) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection, for statements that need so much of the database.

        Raises:
            DatabaseUnavailableError: the server is down, broke off, or is silent for too long. A
                statement on the connection may raise this too.
            OverloadedError: the caller has too many statements waiting, or there were too many
                other callers for too long.
        """
