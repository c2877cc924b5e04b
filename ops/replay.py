"""Marks events in the outbox to be sent to Kafka again."""

from __future__ import annotations

from core.settings import Settings
from ops.database import SQL, connect
from ops.failures import failures_as_ops_errors
from write_service.outbox import wake_relay
from write_service.outbox_partitions import REPLAY_PART


def replayable_hours(settings: Settings) -> float:
    """Return how many of the last hours can be replayed.

    Events that were sent earlier are left out: events that followed them may have been removed, and
    without these, timelines would go back to what they were before.
    """
    return settings.retention_days * 24 * REPLAY_PART


@failures_as_ops_errors()
def resend_events(settings: Settings, hours: float) -> int:
    """Mark the events that were sent in the last hours as unsent, for the relay to send again.

    Args:
        settings: the address of Postgres, and the retention.
        hours: since when, at most replayable_hours().

    Returns:
        How many events were marked.

    Raises:
        OpsError: Postgres does not answer.
    """
    hours = min(hours, replayable_hours(settings))
    with connect(settings.session_dsn()) as connection, connection.transaction():
        # With the next epoch, a relay that is in the middle of a batch can no longer mark the batch
        # as sent. It sends the batch again after the older events that become unsent here.
        connection.execute(SQL["next_epoch"])
        marked = connection.execute(SQL["resend_events"], {"hours": hours}).rowcount
        wake_relay(connection)
    return marked
