"""`fanfare migrate`: bring the schema and the topics up to date."""

from __future__ import annotations

import click

from ops.instance import load_instance_settings
from ops.migrate import migrate


@click.command()
def command() -> None:
    """Bring the schema and the topics up to date.

    Applies the missing migrations to Postgres and creates the missing topics in Kafka. Run it
    before the first start, and at every upgrade before the new processes are started. Safe to run
    at any time.
    """
    for line in migrate(load_instance_settings()) or ["Everything is up to date."]:
        click.echo(line)
