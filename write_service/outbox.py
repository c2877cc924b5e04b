"""Enqueueing events in the outbox, the table from which the relay publishes them to Kafka.

This is the transactional outbox pattern: a command inserts its events in the transaction that
changes the data, so that either both are committed or neither is. Only this module and queries.sql
beside it know how to insert into the outbox and on which channel the relay listens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
from psycopg.rows import TupleRow

from core.runtime.tracing import current_traceparent
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from write_service.events import OutboxEvent

_SQL = load_queries("write_service")

CHANNEL = "fanfare_outbox"
"""The NOTIFY channel on which the relay is woken."""


async def enqueue_events(connection: Connection, events: Sequence[OutboxEvent]) -> None:
    """Insert events in the transaction of the connection.

    Call it after the statements that lock the changed rows, so that the ids that the events get are
    in commit order for each tweet, follow and user. It does not wake the relay. If the call is
    traced, the events belong to its current span.
    """
    await connection.execute(
        _SQL["enqueue_events"],
        {
            "keys": [event.key for event in events],
            "types": [event.type for event in events],
            "payloads": [event.payload for event in events],
            "traceparent": current_traceparent(),
        },
    )


def copy_events(connection: psycopg.Connection[TupleRow], events: Iterable[OutboxEvent]) -> None:
    """Insert any number of events by COPY, in the transaction of the connection.

    The rule of `enqueue_events` about locks holds here too. The commit wakes the relay.
    """
    # Otherwise the events could get ids that a lost history used before.
    connection.execute(_SQL["begin_history"], {"forced": False})
    with connection.cursor() as cursor, cursor.copy(_SQL["copy_events"]) as copy:
        for event in events:
            copy.write_row((event.key, event.type, event.payload))
    wake_relay(connection)


def wake_relay(connection: psycopg.Connection[TupleRow]) -> None:
    """Have the relay look for unsent events as soon as the current transaction is committed.

    Without this the relay looks within a second.
    """
    connection.execute(_SQL["wake_relay"], {"channel": CHANNEL})
