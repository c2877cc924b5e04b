"""The state of the database after a commit, which each command reads on its own connection."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.pq.abc import PGresult

from core.feed.history import Lsn
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from core.storage.round_trips import RoundTrip, Statement, only_row
from write_service.outbox import CHANNEL

_SQL = load_queries("write_service")
_BEGIN_HISTORY = Statement("begin_history", _SQL["begin_history_if_none_is_valid"])
_COMMIT_AND_CHAIN = Statement("commit_and_chain", "COMMIT AND CHAIN")
_COMMITTED = Statement("committed", _SQL["committed"])
_COMMIT = Statement("commit", "COMMIT")


@dataclass(frozen=True)
class Committed:
    """The state of the database at or after a commit."""

    lsn: Lsn
    history: str
    follows_drawn: int
    """A number that the sequence of follows has reached; it may be one less than the last."""


def add_commit(trip: RoundTrip) -> None:
    """Add the commit, and the statement that reads the state and wakes the relay.

    The results of run() end with that of the commit, that for committed_state(), and one more.

    The statement runs in a transaction that begins with the commit. Otherwise a pooler could send
    it to another server, which took over after the commit and lost it.
    """
    trip.add(_COMMIT_AND_CHAIN)
    trip.sync()
    trip.add(_COMMITTED, CHANNEL.encode())
    # If this fails, the relay is not woken, and looks by itself within a second.
    trip.add(_COMMIT)


def add_begin_history(trip: RoundTrip) -> None:
    """Add what a transaction without events needs before its commit: a valid history."""
    trip.add(_BEGIN_HISTORY)


def committed_state(connection: Connection, result: PGresult) -> Committed:
    """Return the state that a statement of add_commit() has read.

    Raises:
        psycopg.Error: the statement failed, or the history ended within the transaction.
    """
    state = only_row(connection, result, Committed)
    if state.history is None:
        raise psycopg.OperationalError("the history of the database ended during a command")
    return state
