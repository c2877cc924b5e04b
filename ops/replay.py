"""`fanfare replay`: events sent again from the outbox, for when Kafka forgot them."""

from __future__ import annotations

import click
import psycopg

from core.settings import load_settings
from ops.feed_status import connect


@click.command()
@click.option(
    "--since",
    "hours",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    metavar="HOURS",
    help="Those sent in the last so many hours; the outbox keeps a week.",
)
def command(hours: float) -> None:
    """Have the relay send the events of the last hours to Kafka again, in their order.

    Safe at any time: what was applied already changes nothing once all are applied again. For when
    Kafka lost records without any sign of it, and for other consumers of the feed that did.
    """
    try:
        with connect(load_settings().primary_dsn()) as connection, connection.transaction():
            # A relay in the middle of a batch may not mark it as sent now, and sends it again
            # after these: else the batch would stand before events that are older.
            connection.execute("UPDATE relay_state SET epoch = epoch + 1")
            replayed = connection.execute(
                "UPDATE outbox SET sent_at = NULL WHERE sent_at > now() - %s * interval '1 hour'",
                (hours,),
            ).rowcount
            connection.execute("SELECT pg_notify('fanfare_outbox', '')")
    except psycopg.Error as error:
        raise click.ClickException(f"Postgres does not answer: {error}") from error
    click.echo(f"{replayed:,} events wait in the outbox to be sent again")
