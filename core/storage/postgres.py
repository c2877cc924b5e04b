"""Connections to Postgres, which are given up when Postgres is silent for too long."""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage.queries import load_queries

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 2
# How often a statement that waits for Postgres checks how long the silence has lasted.
POLL_SECONDS = 0.1
SQL = load_queries("core.storage")
# Asks a server whether it has reached a moment; see queries.sql.
HAS_REACHED = SQL["has_reached"]
# Defines what a home timeline must contain; see queries.sql.
ORACLE_TIMELINE = SQL["oracle_timeline"]


class ServerSilentError(psycopg.OperationalError):
    """Postgres sent nothing for too long while a statement waited; the connection is closed."""


class SharedSessionError(psycopg.OperationalError):
    """A connection that needs a session of its own leads through a pooler."""

    def __init__(self) -> None:
        super().__init__(
            "the connection leads through a pooler and has no session of its own; set "
            "FANFARE_POSTGRES_SESSION_DSN to the address of Postgres itself"
        )


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection that closes when Postgres is silent for silence_seconds during a statement.

    Behind a pooler, such as PgBouncer in transaction mode, each transaction may get another session
    of Postgres. Then nothing may be prepared or set for longer than a transaction, and
    prepare_threshold is None.
    """

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
    if connection.execute(SQL["has_own_session"]).fetchone() != (True,):
        connection.prepare_threshold = None
    return connection


def connect_session(dsn: str, application: str, silence_seconds: float) -> BlockingConnection:
    """Return what connect() returns, with a session of its own.

    Such a session can hold advisory locks, listen, and have settings that concern nobody else.

    Raises:
        psycopg.OperationalError: Postgres cannot be reached, or refuses.
        SharedSessionError: the DSN leads through a pooler.
    """
    connection = connect(dsn, application, silence_seconds)
    if connection.prepare_threshold is None:
        connection.close()
        raise SharedSessionError
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
        # The mark that has_own_session in queries.sql looks for. Postgres allows any name that has
        # a dot.
        "fanfare.session": "own",
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
