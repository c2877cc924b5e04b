"""Marks events in the outbox to be sent to Kafka again."""

from __future__ import annotations

from core.settings import Settings
from ops.database import SQL, connect
from ops.failures import failures_as_ops_errors
from write_service.outbox import wake_relay


@failures_as_ops_errors()
def resend_events(settings: Settings, hours: float) -> int:
    """Mark the events that were sent in the last hours as unsent, for the relay to send again.

    Returns:
        How many events were marked.

    Raises:
        OpsError: Postgres does not answer.
    """
    with connect(settings.primary_dsn()) as connection, connection.transaction():
        # A relay in the middle of a batch can no longer mark it as sent, and sends it again after
        # the older events that are marked here. Otherwise its batch would come before them.
        connection.execute(SQL["next_epoch"])
        marked = connection.execute(SQL["resend_events"], {"hours": hours}).rowcount
        wake_relay(connection)
    return marked
