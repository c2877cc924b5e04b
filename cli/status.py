"""`fanfare status`: show the state of a running system."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.json_output import json_option, print_json
from cli.texts import one_line
from cli.watch import watch
from ops.instance import load_instance_settings
from ops.status import StatusRow, read_status
from ops.watcher import Watcher

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare status
  fanfare status --watch
  fanfare status --watch | tee watched.log
  fanfare status --json | jq -r '.rows[] | select(.is_wrong) | .text'
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--watch", "-w", "is_watched", is_flag=True, help="Show rates and lag, renewed every second."
)
@json_option("Print one JSON document, for programs; with --watch, one on each line.")
def command(*, is_watched: bool, as_json: bool) -> None:
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
        watch(Watcher(load_instance_settings()), as_json=as_json)
        return
    rows = read_status(load_instance_settings())
    wrong = dict.fromkeys(row.label for row in rows if row.is_wrong)
    if as_json:
        print_json({"ok": not wrong, "rows": [dataclasses.asdict(row) for row in rows]})
    else:
        _print(rows)
    if wrong:
        # In words too, since output to a file has no colours.
        click.echo(f"Not right: {', '.join(wrong)}.", err=True)
        sys.exit(1)


def _print(rows: Sequence[StatusRow]) -> None:
    table = Table(show_header=False, box=None)
    for row in rows:
        table.add_row(row.label, Text(one_line(row.text), "red" if row.is_wrong else ""))
    Console().print(table)
