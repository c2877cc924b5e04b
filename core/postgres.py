"""Connections to Postgres: bounded in number, in waiting time and in waiting callers."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from core.errors import DatabaseUnavailableError, OverloadedError

Connection = psycopg.AsyncConnection[TupleRow]

CONNECT_SECONDS = 2
WAIT_SECONDS = 2.0
# The pool waits for longer and longer between its tries to connect. Given up early, the next
# caller tries at once: a server that is back is used within a second.
RECONNECT_SECONDS = 1.0
MAX_WAITING = 1000
STATEMENT_MILLISECONDS = 10_000

# Whether a server has reached a moment. A primary has whatever it has committed, as long as it is
# still at that history. To be asked in a statement before the read that relies on it, on the same
# connection.
HAS_REACHED: LiteralString = """
SELECT history = %(history)s AND CASE
    WHEN pg_is_in_recovery()
        THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint >= %(lsn)s
    ELSE server = server_identity()
END FROM relay_state
"""


def connection_arguments(application: str) -> dict[str, Any]:
    """Return the libpq arguments common to all of Fanfare's connections to Postgres."""
    return {
        "autocommit": True,
        "application_name": f"fanfare-{application}",
        "connect_timeout": CONNECT_SECONDS,
        # Keepalives on both sides: a machine that vanished must not hold its locks for hours.
        "options": f"-c statement_timeout={STATEMENT_MILLISECONDS} -c timezone=UTC"
        " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }


class Database:
    """One Postgres server, through a pool of connections."""

    def __init__(self, dsn: str, application: str, *, max_size: int = 10) -> None:
        self._pool = AsyncConnectionPool(
            dsn,
            kwargs=connection_arguments(application),
            min_size=1,
            max_size=max_size,
            timeout=WAIT_SECONDS,
            max_waiting=MAX_WAITING,
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

    async def _check(self, connection: Connection) -> None:
        """Raise psycopg.OperationalError if the connection is broken."""
        arrived = select.poll()
        arrived.register(connection.fileno(), select.POLLIN)
        if not arrived.poll(0):
            # A server that ends says so, by the end of the connection at least. Asking each time
            # would cost every call a round trip.
            return
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            # The server was away, and the others are as dead. Found one by one, with the pool's
            # growing pauses between, they would use up the time of this caller and the next.
            await self._pool.drain()
            raise

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection in autocommit.

        Raises DatabaseUnavailableError when Postgres does not answer or breaks off, and
        OverloadedError when too many callers wait already.
        """
        try:
            async with self._pool.connection() as connection:
                yield connection
        except TooManyRequests as error:
            raise OverloadedError from error
        except (PoolTimeout, PoolClosed) as error:
            raise DatabaseUnavailableError from error
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError from error
