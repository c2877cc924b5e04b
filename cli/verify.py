"""`fanfare verify`: compare home timelines with SQL."""

from __future__ import annotations

import dataclasses

import click
from rich.console import Console

from cli.json_output import json_option, print_json
from ops.instance import load_instance_settings
from ops.verify import verify

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare verify --sample 500
  fanfare verify --sample 500 --seed 7
  fanfare verify --json | jq '.comparisons[].differing'
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many readers to choose at random.",
)
@click.option("--seed", type=int, help="Choose the same readers as an earlier run with this seed.")
@json_option()
def command(sample: int, seed: int | None, *, as_json: bool) -> None:
    """Compare home timelines with Postgres.

    Waits until all events have taken effect, then reads each chosen timeline to its oldest tweet
    and compares it with the SQL query that defines it. Does so three times: as found, cold (after
    removing the timeline from Redis) and warm. Exits with status 1 if any differs. What is written
    during the run may show as a difference.
    """
    console = Console(stderr=as_json)
    found = verify(load_instance_settings(), sample, seed, console)
    differ = any(comparison.differing for comparison in found.comparisons)
    if as_json:
        print_json({"ok": not differ, **dataclasses.asdict(found)})
    if differ:
        raise click.ClickException(
            "timelines differ from Postgres; run it again with the same --seed while nothing is "
            "written, and if they still differ, run `fanfare recover`"
        )
