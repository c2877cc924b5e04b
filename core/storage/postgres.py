"""Connections to Postgres, and a pool of them.

A connection is given up when Postgres sends nothing for too long while a statement waits. The pool
limits how many connections there are; shares.py decides which of the waiting callers is next.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import UndefinedColumn, UndefinedFunction, UndefinedTable
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from core.errors import DatabaseUnavailableError
from core.runtime.callers import CALLER
from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage.queries import load_queries
from core.storage.reachability import Reachability
from core.storage.shares import Cost, Shares

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 2
# How long a caller waits until the pool has connected to Postgres.
CONNECTED_SECONDS = 2.0
# How many statements may wait for a connection that is in use.
MAX_WAITING = 1000
# How often a missing migration is logged.
SCHEMA_LOG_SECONDS = 10.0
# The pool doubles its pause after each failed attempt to connect, and stops trying after this time.
# The next caller makes it try again at once, so Postgres is used within a second of its return.
RECONNECT_SECONDS = 1.0
# How often a statement that waits for Postgres checks how long the silence has lasted.
POLL_SECONDS = 0.1
# The first version with the setting transaction_timeout.
TRANSACTION_TIMEOUT_VERSION = 170_000

# Asks a server whether it has reached a moment; see queries.sql.
HAS_REACHED = load_queries("core.storage")["has_reached"]
# Defines what a home timeline must contain; see queries.sql.
ORACLE_TIMELINE = load_queries("core.storage")["oracle_timeline"]


class ServerSilentError(psycopg.OperationalError):
    """Postgres sent nothing for too long while a statement waited; the connection is closed."""


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection that closes when Postgres is silent for silence_seconds during a statement."""

    silence_seconds = DEFAULT_SILENCE_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.created_at = time.monotonic()
        self.prepared: set[str] = set()
        """The statements of round_trips.py that this connection has prepared."""

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = POLL_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is psycopg's
    ) -> RV:
        """Wait for Postgres; psycopg calls this for every statement.

        Raises:
            ServerSilentError: the silence lasted too long.
        """
        return await super().wait(_limit_silence(self, gen), interval, timeout)

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        """Have Postgres forget a prepared statement, or all of them if the name is None.

        After a rollback psycopg does this for all, without knowing those of round_trips.py.
        """
        if name is None:
            self.prepared.clear()
        yield from super()._deallocate(name)


class BlockingConnection(psycopg.Connection[TupleRow]):
    """A connection for use in a thread, which closes on silence in the same way as Connection."""

    silence_seconds = DEFAULT_SILENCE_SECONDS

    def wait(
        self, gen: PQGen[RV], interval: float = POLL_SECONDS, timeout: float | None = None
    ) -> RV:
        """Wait for Postgres; psycopg calls this for every statement.

        Raises:
            ServerSilentError: the silence lasted too long.
        """
        # psycopg passes a timeout only while it waits for notifications, and none need come.
        if timeout is None:
            gen = _limit_silence(self, gen)
        return super().wait(gen, interval, timeout)


def _limit_silence(connection: Connection | BlockingConnection, waiting: PQGen[RV]) -> PQGen[RV]:
    """Run the generator of a statement, and close the connection after silence_seconds of silence.

    psycopg resumes the generator when the socket is ready, and every POLL_SECONDS when it is not.

    TCP keepalives and TCP_USER_TIMEOUT cannot replace this. The kernel of a proxy, or of a server
    whose Postgres is stopped, still acknowledges packets. Nor can asyncio.timeout(): when psycopg
    is cancelled, it cancels the statement and waits for Postgres again.
    """
    try:
        wanted = next(waiting)
        heard_at = time.monotonic()
        while True:
            ready = yield wanted
            if ready:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > connection.silence_seconds:
                connection.pgconn.finish()
                raise ServerSilentError(
                    f"Postgres sent nothing for {connection.silence_seconds:g} s; the connection "
                    "was closed"
                )
            wanted = waiting.send(ready)
    except StopIteration as stop:
        result: RV = stop.value
        return result


def connect(dsn: str, application: str, silence_seconds: float) -> BlockingConnection:
    """Return a new connection in autocommit mode, for a thread.

    Args:
        dsn: the connection string.
        application: what follows `fanfare-` in the application_name that Postgres shows.
        silence_seconds: how long Postgres may be silent during a statement.

    Raises:
        psycopg.OperationalError: Postgres cannot be reached, or refuses.
    """
    arguments = connection_arguments(dsn, application, silence_seconds)
    connection = BlockingConnection.connect(dsn, **arguments)
    connection.silence_seconds = silence_seconds
    return connection


def connection_arguments(
    dsn: str, application: str, silence_seconds: float = DEFAULT_SILENCE_SECONDS
) -> dict[str, Any]:
    """Return the arguments that all connections to Postgres are made with, besides the DSN.

    What the DSN says wins: what it leaves out is as below, whatever the environment says.

    Args:
        dsn: the connection string.
        application: what follows `fanfare-` in the application_name that Postgres shows.
        silence_seconds: how long the client and Postgres each wait for the other before they give
            the connection up.
    """
    milliseconds = int(silence_seconds * 1000)
    # With three probes, an idle connection that is dead is noticed within silence_seconds as well.
    idle, interval = max(1, int(silence_seconds / 3)), max(1, int(silence_seconds / 7.5))
    server = {
        # Postgres ends a statement that is merely slow before the connection would be given up.
        "statement_timeout": milliseconds * 2 // 3,
        # Postgres must not hold the locks of a lost client for hours. This timeout is for a client
        # that hangs, or is behind a proxy that hangs. The TCP settings are for a client that the
        # network has cut off.
        "idle_in_transaction_session_timeout": milliseconds,
        "tcp_user_timeout": milliseconds,
        "tcp_keepalives_idle": idle,
        "tcp_keepalives_interval": interval,
        "tcp_keepalives_count": 3,
        "timezone": "UTC",
        "datestyle": "ISO",
    }
    given = conninfo_to_dict(dsn)
    # Of two values for one name, Postgres takes the last.
    options = [*(f"-c {name}={value}" for name, value in server.items()), given.get("options")]
    defaults = {
        "application_name": f"fanfare-{application}",
        "connect_timeout": CONNECT_SECONDS,
        "tcp_user_timeout": milliseconds,
        "keepalives_idle": idle,
        "keepalives_interval": interval,
        "keepalives_count": 3,
    }
    return {
        **{name: value for name, value in defaults.items() if name not in given},
        "autocommit": True,
        "options": " ".join(str(each) for each in options if each),
        # No other encoding has all characters that a tweet may have.
        "client_encoding": "UTF8",
    }


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
        except psycopg.OperationalError as error:
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
        if connection.info.server_version >= TRANSACTION_TIMEOUT_VERSION:
            seconds = 2 * self._silence_seconds
            await connection.execute(f"SET transaction_timeout = '{seconds:g}s'")

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
