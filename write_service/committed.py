"""The state of the database after a commit, which each command reads on its own connection."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.pq.abc import PGresult
from psycopg.rows import scalar_row

from core.feed.history import Lsn, Moment
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from core.storage.round_trips import RoundTrip, Statement, only_row
from write_service.outbox import CHANNEL

_SQL = load_queries("write_service")
_COMMITTED = Statement("committed", _SQL["committed"])


@dataclass(frozen=True)
class Committed:
    """The state of the database at or after a commit."""

    lsn: Lsn
    history: str | None
    """None until a history has begun on this server."""
    follows_drawn: int
    """A number that the sequence of follows has reached; it may be one less than the last."""


def add_committed(trip: RoundTrip) -> None:
    """Add the statement that reads the state and wakes the relay; it must run after the commit."""
    trip.add(_COMMITTED, CHANNEL.encode())


async def read_committed(connection: Connection) -> Committed:
    """Read the state, and wake the relay."""
    trip = RoundTrip(connection)
    add_committed(trip)
    (result,) = await trip.run()
    return committed_state(connection, result)


def committed_state(connection: Connection, result: PGresult) -> Committed:
    """Return the state that the statement of add_committed() has read.

    Raises:
        psycopg.Error: the statement failed.
    """
    return only_row(connection, result, Committed)


async def moment_of(connection: Connection, committed: Committed) -> Moment:
    """Return a moment at or after the connection's last commit."""
    history = committed.history
    if history is None:
        # Only after the LSN was read, so that the new history begins after the commits.
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(_SQL["begin_history"], {"forced": False})
        (history,) = await cursor.fetchall()
    return Moment(history, committed.lsn)
