"""`fanfare verify`: compare home timelines with SQL."""

from __future__ import annotations

import click
from rich.console import Console

from ops.instance import load_instance_settings
from ops.verify import verify


@click.command()
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many readers to choose at random.",
)
@click.option("--seed", type=int, help="Choose the same readers as an earlier run with this seed.")
def command(sample: int, seed: int | None) -> None:
    """Compare home timelines with Postgres.

    Waits until all events have taken effect, then reads each chosen timeline to its oldest tweet
    and compares it with the SQL query that defines it. Does so three times: as found, cold (after
    removing the timeline from Redis) and warm. Exits with status 1 if any differs. What is written
    during the run may show as a difference.
    """
    comparisons = verify(load_instance_settings(), sample, seed, Console())
    if any(comparison.differing for comparison in comparisons):
        raise click.ClickException(
            "timelines differ from Postgres; run it again with the same --seed while nothing is "
            "written, and if they still differ, run `fanfare recover`"
        )
