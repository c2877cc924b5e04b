"""A pool of connections to Postgres.

The pool limits how many connections there are; shares.py decides which of the waiting callers is
next.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.errors import (
    ReadOnlySqlTransaction,
    TransactionTimeout,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from core.errors import DatabaseUnavailableError
from core.runtime.callers import CALLER
from core.runtime.tracing import client_span
from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage.postgres import SQL, Connection, connection_arguments
from core.storage.reachability import Reachability
from core.storage.shares import Cost, Shares

LOG = logging.getLogger(__name__)
# How long a caller waits until the pool has connected to Postgres.
CONNECTED_SECONDS = 2.0
# How many statements may wait for a connection that is in use.
MAX_WAITING = 1000
# How often a missing migration is logged.
SCHEMA_LOG_SECONDS = 10.0
# The pool doubles its pause after each failed attempt to connect, and stops trying after this time.
# The next caller makes it try again at once, so Postgres is used within a second of its return.
RECONNECT_SECONDS = 1.0
UNAVAILABLE = (psycopg.OperationalError, ReadOnlySqlTransaction, TransactionTimeout)
"""Errors after which the caller may try again. A restored server is read-only until it has replayed
its WAL, and Postgres ends a transaction that has been open for too long."""


class Database:
    """A Postgres server, through a pool of connections."""

    def __init__(
        self,
        dsn: str,
        application: str,
        *,
        silence_seconds: float = DEFAULT_SILENCE_SECONDS,
        max_size: int = 10,
    ) -> None:
        """Create the pool; open() connects.

        Args:
            dsn: the connection string. If it names several servers, libpq chooses one of them.
            application: what follows `fanfare-` in the application_name that Postgres shows.
            silence_seconds: how long Postgres may be silent during a statement.
            max_size: the maximum number of connections.
        """
        self._silence_seconds = silence_seconds
        self._replaced_at = 0.0
        self._schema_noted_at = -SCHEMA_LOG_SECONDS
        self._shares = Shares(max_size, MAX_WAITING)
        self._reachability = Reachability()
        self._pool = AsyncConnectionPool(
            dsn,
            connection_class=Connection,
            kwargs=connection_arguments(dsn, application, silence_seconds),
            min_size=1,
            max_size=max_size,
            timeout=CONNECTED_SECONDS,
            configure=self._configure,
            check=self._check,
            reconnect_timeout=RECONNECT_SECONDS,
            open=False,
            name=application,
        )

    @property
    def statements_waiting(self) -> int:
        """How many statements wait for a connection."""
        return self._shares.waiting

    @property
    def connections_used(self) -> int:
        """How many connections statements use, or have asked the pool for."""
        return self._shares.used

    @property
    def connections_idle(self) -> int:
        """How many open connections no statement uses."""
        return int(self._pool.get_stats()["pool_available"])

    async def open(self) -> None:
        """Start connecting, without waiting for it; Postgres need not be up yet."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close the connections; those in use are closed when they are given back."""
        await self._pool.close()

    def trouble(self) -> str | None:
        """Return why no caller gets a connection, or None if one could, or could until just now.

        It is known from the callers, so somebody has to ask for a connection now and then.
        """
        reason = self._reachability.trouble()
        return reason and f"Postgres {reason}"

    @asynccontextmanager
    async def connection(self, cost: Cost = Cost.CHEAP) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode, in fair turns to all callers who wait for one.

        Args:
            cost: how much of the database the statements may need.

        Raises:
            DatabaseUnavailableError: Postgres cannot be reached, is silent for too long, the
                connection broke, or the database was not migrated to this version.
            OverloadedError: the caller or its address has too many statements waiting, or there
                were too many other callers for too long.
        """
        with client_span("postgres"):
            await self._shares.acquire(CALLER.get(), cost)
            try:
                async with self._pool.connection() as connection:
                    try:
                        yield connection
                        self._reachability.answered()
                    finally:
                        # psycopg also closes the connection when the caller was cancelled, and
                        # Postgres does not confirm that it has cancelled the statement.
                        if connection.closed:
                            await self._replace_others(connection)
            except PoolTimeout as error:
                # There are as many connections as shares, so the pool has none because it cannot
                # connect. Those who wait for a share would only find that out one after another.
                self._shares.refuse_waiting(DatabaseUnavailableError)
                self._reachability.failed()
                raise DatabaseUnavailableError from error
            except PoolClosed as error:
                raise DatabaseUnavailableError from error
            except UNAVAILABLE as error:
                self._reachability.failed()
                raise DatabaseUnavailableError from error
            except (UndefinedTable, UndefinedColumn, UndefinedFunction) as error:
                self._note_wrong_schema(error)
                self._reachability.failed()
                raise DatabaseUnavailableError from error
            finally:
                self._shares.release(cost)

    def _note_wrong_schema(self, error: psycopg.Error) -> None:
        """Log that the database was not migrated, at most once in SCHEMA_LOG_SECONDS."""
        now = time.monotonic()
        if now - self._schema_noted_at > SCHEMA_LOG_SECONDS:
            self._schema_noted_at = now
            LOG.error(
                "the database does not have the schema of this version; run `fanfare migrate`: "
                "error=%s",
                error.diag.message_primary,
            )

    async def _configure(self, connection: Connection) -> None:
        """Prepare a new connection of the pool."""
        connection.silence_seconds = self._silence_seconds
        # idle_in_transaction_session_timeout does not end a transaction in a pipeline of psycopg:
        # Postgres does not count it as idle between two statements.
        timeout = {"transaction_timeout": f"{2 * self._silence_seconds:g}s"}
        cursor = await connection.execute(SQL["begin_session"], timeout)
        ((has_own_session, _),) = await cursor.fetchall()
        if not has_own_session:
            connection.prepare_threshold = None

    async def _check(self, connection: Connection) -> None:
        """Check a connection before the pool lends it.

        Raises:
            psycopg.OperationalError: the connection is broken.
        """
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if not poll.poll(0):
            # A Postgres that shuts down sends a message, or at least closes the connection, and
            # either would make the socket readable. So a round trip is not needed.
            return
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            await self._replace_others(connection)
            raise

    async def _replace_others(self, lost: Connection) -> None:
        """Replace the idle connections when one is lost, since they are most likely lost too.

        Otherwise one caller after another would get a lost connection, and wait for silence_seconds
        or for the pool's growing pauses between attempts to connect.
        """
        if lost.created_at > self._replaced_at:
            self._replaced_at = time.monotonic()
            LOG.warning("lost a connection to Postgres; replacing the idle ones")
            await self._pool.drain()
