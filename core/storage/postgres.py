"""Connections to Postgres: bounded in number, in waiting time and callers, and in silence."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from core.errors import DatabaseUnavailableError, OverloadedError
from core.settings import DEFAULT_SILENCE_SECONDS

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 2
WAIT_SECONDS = 2.0
# The pool waits for longer and longer between its tries to connect. Given up early, the next
# caller tries at once: a server that is back is used within a second.
RECONNECT_SECONDS = 1.0
MAX_WAITING = 1000
# How often a connection that waits for the server looks at the time.
LOOK_SECONDS = 0.1
TRANSACTION_TIMEOUT_VERSION = 170_000

# Whether a server has reached a moment. A primary has whatever it has committed, as long as it is
# still at that history. A replica has what the relay's heartbeat has passed: its own LSN may be of
# a restored primary, which it follows and which has not begun its own history yet. To be asked in a
# statement before the read that relies on it, on the same connection.
HAS_REACHED: LiteralString = """
SELECT history = %(history)s AND CASE
    WHEN pg_is_in_recovery() THEN lsn >= %(lsn)s
    ELSE server = server_identity()
END FROM relay_state
"""


class ServerSilentError(psycopg.OperationalError):
    """Postgres sent nothing for too long while it owed an answer; the connection is closed."""


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection that is given up when Postgres is silent in the middle of a statement."""

    silence_seconds = DEFAULT_SILENCE_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.made_at = time.monotonic()

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = LOOK_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own
    ) -> RV:
        """Wait for the server, as every statement does; raises ServerSilentError."""
        return await super().wait(_unless_silent(self, gen), interval, timeout)


class BlockingConnection(psycopg.Connection[TupleRow]):
    """The same for threads."""

    silence_seconds = DEFAULT_SILENCE_SECONDS

    def wait(
        self, gen: PQGen[RV], interval: float = LOOK_SECONDS, timeout: float | None = None
    ) -> RV:
        """Wait for the server, as every statement does; raises ServerSilentError.

        With a timeout it is a wait for notifications, which may well not come.
        """
        if timeout is None:
            gen = _unless_silent(self, gen)
        return super().wait(gen, interval, timeout)


def _unless_silent(connection: Connection | BlockingConnection, waiting: PQGen[RV]) -> PQGen[RV]:
    """Do as the generator does, and close the connection after silence_seconds without a sign.

    psycopg resumes the generator when the socket is ready, and every LOOK_SECONDS when it is not.
    Neither TCP keepalives nor TCP_USER_TIMEOUT can stand in for this: a proxy or a stopped server
    has a kernel that goes on to acknowledge. Nor can asyncio.timeout: psycopg answers a
    cancellation by cancelling the query and waiting for the server again.
    """
    try:
        wanted = next(waiting)
        heard = time.monotonic()
        while True:
            ready = yield wanted
            if ready:
                heard = time.monotonic()
            elif time.monotonic() - heard > connection.silence_seconds:
                connection.pgconn.finish()
                raise ServerSilentError(
                    f"Postgres sent nothing for {connection.silence_seconds:g} s; the connection "
                    "was closed"
                )
            wanted = waiting.send(ready)
    except StopIteration as done:
        answer: RV = done.value
        return answer


def connect(dsn: str, application: str, silence_seconds: float) -> BlockingConnection:
    """Return a connection for a thread; raises psycopg.OperationalError."""
    arguments = connection_arguments(application, silence_seconds)
    connection = BlockingConnection.connect(dsn, **arguments)
    connection.silence_seconds = silence_seconds
    return connection


def connection_arguments(
    application: str, silence_seconds: float = DEFAULT_SILENCE_SECONDS
) -> dict[str, Any]:
    """Return the libpq arguments common to all of Fanfare's connections to Postgres.

    silence_seconds: after how long without a sign from the other side a connection is given up.
    """
    milliseconds = int(silence_seconds * 1000)
    # With three probes that are not answered: within the bound, also while nothing is asked.
    idle, interval = max(1, int(silence_seconds / 3)), max(1, int(silence_seconds / 7.5))
    server = {
        # A statement that is only slow ends before its connection is given up.
        "statement_timeout": milliseconds * 2 // 3,
        # The server's side: a client that vanished must not hold its locks for hours. This is for
        # those behind a proxy that hangs; where the network is at fault, the others see it.
        "idle_in_transaction_session_timeout": milliseconds,
        "tcp_user_timeout": milliseconds,
        "tcp_keepalives_idle": idle,
        "tcp_keepalives_interval": interval,
        "tcp_keepalives_count": 3,
        "timezone": "UTC",
    }
    return {
        "autocommit": True,
        "application_name": f"fanfare-{application}",
        "connect_timeout": CONNECT_SECONDS,
        "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
        "tcp_user_timeout": milliseconds,
        "keepalives_idle": idle,
        "keepalives_interval": interval,
        "keepalives_count": 3,
    }


class Database:
    """One Postgres server, through a pool of connections."""

    def __init__(
        self,
        dsn: str,
        application: str,
        *,
        silence_seconds: float = DEFAULT_SILENCE_SECONDS,
        max_size: int = 10,
    ) -> None:
        """Use the server, or of several the one that the DSN chooses.

        silence_seconds: after how long without a sign from it a connection is given up.
        """
        self._silence_seconds = silence_seconds
        self._replaced_at = 0.0
        self._pool = AsyncConnectionPool(
            dsn,
            connection_class=Connection,
            kwargs=connection_arguments(application, silence_seconds),
            min_size=1,
            max_size=max_size,
            timeout=WAIT_SECONDS,
            max_waiting=MAX_WAITING,
            configure=self._configure,
            check=self._check,
            reconnect_timeout=RECONNECT_SECONDS,
            open=False,
            name=application,
        )

    async def open(self) -> None:
        """Begin to connect. Postgres need not be up: callers are told until it is."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close the connections; those in use when they are given back."""
        await self._pool.close()

    async def _configure(self, connection: Connection) -> None:
        # Between the statements of a pipeline Postgres does not count as waiting for its client,
        # so idle_in_transaction_session_timeout does not apply to group commits.
        if connection.info.server_version >= TRANSACTION_TIMEOUT_VERSION:
            seconds = 2 * self._silence_seconds
            await connection.execute(f"SET transaction_timeout = '{seconds:g}s'")

    async def _check(self, connection: Connection) -> None:
        """Raise psycopg.OperationalError if the connection is broken."""
        # Whoever had it before may have allowed more.
        connection.silence_seconds = self._silence_seconds
        arrived = select.poll()
        arrived.register(connection.fileno(), select.POLLIN)
        if not arrived.poll(0):
            # A server that ends says so, by the end of the connection at least. Asking each time
            # would cost every call a round trip.
            return
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            await self._replace_others(connection)
            raise

    async def _replace_others(self, lost: Connection) -> None:
        """Replace the idle connections, which are as dead as the lost one.

        Found one by one, each would cost a caller the whole bound of silence, or at least the
        pool's growing pauses.
        """
        if lost.made_at > self._replaced_at:
            self._replaced_at = time.monotonic()
            LOG.warning("lost a connection to Postgres; replacing the idle ones")
            await self._pool.drain()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection in autocommit.

        Raises DatabaseUnavailableError when Postgres does not answer, breaks off, or is silent for
        too long, and OverloadedError when too many callers wait already.
        """
        try:
            async with self._pool.connection() as connection:
                try:
                    yield connection
                finally:
                    # Also when the caller was cancelled: psycopg closes it if the server does not
                    # confirm that it has cancelled the statement.
                    if connection.closed:
                        await self._replace_others(connection)
        except TooManyRequests as error:
            raise OverloadedError from error
        except (PoolTimeout, PoolClosed) as error:
            raise DatabaseUnavailableError from error
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError from error
