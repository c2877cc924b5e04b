"""`fanfare status`: show the state of a running system."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.instance import load_instance_settings
from ops.status import read_status


@click.command()
def command() -> None:
    """Show whether the system is well, and what is not.

    Counts users, tweets and follows; shows which events wait and where, how far the replica is
    behind, and which processes serve. Exits with status 1 if anything is not right: such rows are
    red, and named on stderr.
    """
    rows = read_status(load_instance_settings())
    table = Table(show_header=False, box=None)
    for row in rows:
        text = escape(row.text)
        table.add_row(row.label, f"[red]{text}[/red]" if row.is_wrong else text)
    Console().print(table)
    wrong = dict.fromkeys(row.label for row in rows if row.is_wrong)
    if wrong:
        # In words too, since output to a file has no colours.
        click.echo(f"Not right: {', '.join(wrong)}.", err=True)
        sys.exit(1)
