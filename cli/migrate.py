"""`fanfare migrate`: bring the schema and the topics up to date."""

from __future__ import annotations

import click

from ops.instance import load_instance_settings
from ops.migrate import migrate


@click.command()
def command() -> None:
    """Bring the schema and the topics up to date.

    Applies the missing migrations to Postgres, creates the missing topics in Kafka, and limits how
    long topics keep records to FANFARE_RETENTION_DAYS. Run it before the first start, at every
    upgrade before the new processes are started, and after a change of that setting. Safe to run at
    any time.
    """
    for line in migrate(load_instance_settings()) or ["Everything is up to date."]:
        click.echo(line)
