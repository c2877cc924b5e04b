"""`fanfare migrate`: the schema in Postgres and the topics in Kafka, brought up to date."""

from __future__ import annotations

import click

from core.settings import load_settings
from ops.migrate import MigrateError, migrate


@click.command()
def command() -> None:
    """Bring the schema in Postgres and the topics in Kafka up to date."""
    try:
        done = migrate(load_settings())
    except MigrateError as error:
        raise click.ClickException(str(error)) from error
    for line in done or ["Everything is up to date."]:
        click.echo(line)
