"""What a command reads after its commit."""

from __future__ import annotations

import psycopg
import pytest
from helpers.fanfare import Fanfare
from psycopg.pq import TransactionStatus

from core.storage.postgres import Connection
from core.storage.round_trips import RoundTrip, Statement, check
from write_service.committed import add_begin_history, add_commit, committed_state

PUT_BACK = Statement("put_back", "UPDATE relay_state SET server = 'another'")


async def test_the_moment_is_read_before_a_pooler_can_change_the_server(fanfare: Fanfare) -> None:
    """The session is in a transaction from the command's first statement until the moment is read.

    Between transactions, a pooler may go on with another server, which has lost the commit.
    """
    async with await Connection.connect(
        fanfare.settings.primary_dsn(), autocommit=True
    ) as connection:
        await connection.execute("BEGIN")
        trip = RoundTrip(connection)
        add_begin_history(trip)
        add_commit(trip)
        end = trip._steps.pop()
        begun, committed, after_commit = await trip.run()
        check(begun)
        check(committed)
        assert committed_state(connection, after_commit).history
        assert _is_in_transaction(connection)
        trip = RoundTrip(connection)
        trip._steps.append(end)
        await trip.run()
        assert not _is_in_transaction(connection)


async def test_without_a_history_there_is_no_moment(fanfare: Fanfare) -> None:
    """If another state was put back meanwhile, the outcome of the command is not known."""
    async with await Connection.connect(
        fanfare.settings.primary_dsn(), autocommit=True
    ) as connection:
        await connection.execute("BEGIN")
        trip = RoundTrip(connection)
        trip.add(PUT_BACK)
        add_commit(trip)
        # In the transaction that the test rolls back.
        commit, sync, *rest = trip._steps[1:]
        assert (commit[0].sql if commit else "", sync) == ("COMMIT AND CHAIN", None)
        trip._steps = [trip._steps[0], *rest[:-1]]
        _, after_commit = await trip.run()
        with pytest.raises(psycopg.OperationalError, match="history of the database ended"):
            committed_state(connection, after_commit)
        await connection.rollback()


def _is_in_transaction(connection: Connection) -> bool:
    return connection.info.transaction_status == TransactionStatus.INTRANS
