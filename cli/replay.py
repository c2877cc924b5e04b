"""`fanfare replay`: send recent events to Kafka again."""

from __future__ import annotations

import math
from typing import Any

import click

from ops.instance import load_instance_settings
from ops.replay import replayable_hours, resend_events

# Far more than the outbox keeps, and few enough for an interval of Postgres.
MAX_HOURS = 100_000

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare replay --since 1
  fanfare replay --since 0.25
"""


class _Hours(click.FloatRange):
    """A number of hours; unlike FloatRange, it does not accept NaN."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        hours: float = super().convert(value, param, ctx)
        if math.isnan(hours):
            self.fail(f"{value} is not a number of hours.", param, ctx)
        return hours


@click.command(epilog=EXAMPLES)
@click.option(
    "--since",
    "hours",
    type=_Hours(min=0, min_open=True, max=MAX_HOURS),
    required=True,
    metavar="HOURS",
    help="Send what was first sent in the last HOURS, up to half of FANFARE_RETENTION_DAYS.",
)
def command(hours: float) -> None:
    """Send recent events to Kafka again.

    Has the relay send the events of the last hours again, in their order. For when Kafka lost
    records without a sign, and for other consumers of the feed that lost some. Safe at any time:
    once all of them are applied again, timelines are as before. Until then, readers may see earlier
    states.
    """
    settings = load_instance_settings()
    if hours > (most := replayable_hours(settings)):
        click.echo(
            f"Warning: only events of the last {most:g} hours are sent, half of "
            "FANFARE_RETENTION_DAYS",
            err=True,
        )
    marked = resend_events(settings, hours)
    click.echo(f"{marked:,} events will be sent again")
