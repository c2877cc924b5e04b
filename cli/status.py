"""`fanfare status`: show the state of a running system."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.watch import watch
from ops.instance import load_instance_settings
from ops.status import read_status
from ops.watcher import Watcher

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare status
  fanfare status --watch
  fanfare status --watch | tee watched.log
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--watch", "-w", "is_watched", is_flag=True, help="Show rates and lag, renewed every second."
)
def command(*, is_watched: bool) -> None:
    """Show whether the system is well, and what is not.

    Counts users, tweets and follows; shows which events wait and where, how far the replica is
    behind, and which processes serve. Exits with status 1 if anything is not right: such rows are
    red, and named on stderr.

    With --watch, shows the metrics of each process (rates, failures, latency, connections to
    Postgres), outbox, lag, freshness, fan-out, hit rates and Redis, and what is not right. Needs
    FANFARE_METRICS_PORT. Runs until q or Ctrl-C, and exits with status 0. If the output is not a
    terminal, every second has a line.
    """
    if is_watched:
        watch(Watcher(load_instance_settings()))
        return
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
