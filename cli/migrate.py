"""`fanfare migrate`: bring the schema and the topics up to date."""

from __future__ import annotations

import click

from cli.json_output import json_option, print_json
from ops.instance import load_instance_settings
from ops.migrate import migrate

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare migrate --dry-run
  fanfare migrate
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing: try each migration in a transaction that is rolled back, ask Kafka "
    "whether it would create or change the topics, and print what would be done.",
)
@json_option()
def command(*, dry_run: bool, as_json: bool) -> None:
    """Bring the schema and the topics up to date.

    Applies the missing migrations to Postgres, creates the missing topics in Kafka, and limits how
    long topics keep records to FANFARE_RETENTION_DAYS. Run it before the first start, at every
    upgrade before the new processes are started, and after a change of that setting. Safe to run at
    any time.
    """
    done = migrate(
        load_instance_settings(),
        dry_run=dry_run,
        waiting=lambda told: click.echo(f"Waiting: {told}", err=True),
    )
    if as_json:
        print_json({"dry_run": dry_run, "done": done})
        return
    for line in done or ["Everything is up to date."]:
        click.echo(line)
