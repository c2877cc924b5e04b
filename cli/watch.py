"""`fanfare status --watch`: a view of the running system that is renewed every second."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Sequence

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.json_output import print_json_line
from cli.output import output_has_ended
from cli.signals import interrupt_on_signals
from cli.terminal import single_keys
from cli.texts import one_line
from ops.scraper import WINDOW_SECONDS
from ops.status import StatusRow
from ops.watch import ProcessRow, View, format_bytes, format_number, format_seconds
from ops.watcher import Watcher

REFRESH_SECONDS = 1.0
# Long enough for the first answers of all processes.
FIRST_SECONDS = 0.3

# The columns of the processes, each with the least width of a terminal that shows it.
COLUMNS: list[tuple[int, str, Callable[[ProcessRow], str]]] = [
    (0, "process", lambda row: row.name),
    (0, "up for", lambda row: "DOWN" if row.problem else format_seconds(row.uptime_seconds)),
    (0, "calls/s", lambda row: format_number(row.calls_per_second)),
    (50, "failed/s", lambda row: format_number(row.failures_per_second)),
    (70, "median", lambda row: format_seconds(row.median_seconds)),
    (0, "p99", lambda row: format_seconds(row.p99_seconds)),
    (
        60,
        "Postgres",
        lambda row: f"{format_number(row.connections_used)}/{format_number(row.connections)}",
    ),
    (80, "waiting", lambda row: format_number(row.waiting)),
    (80, "CPU", lambda row: "-" if row.cores is None else f"{row.cores:.0%}"),
    (90, "memory", lambda row: format_bytes(row.memory_bytes)),
]


def watch(watcher: Watcher, *, as_json: bool) -> None:
    """Show a system until q or Ctrl-C is pressed, or nobody reads the output any more.

    Where stdout is not a terminal, each second has a line of its own.

    Args:
        watcher: looks at the system.
        as_json: whether each second has a line of JSON instead.
    """
    interrupt_on_signals()
    console = Console()
    try:
        if as_json:
            _print_lines(watcher, _print_json)
        elif sys.stdout is not None and sys.stdout.isatty() and not console.is_dumb_terminal:
            _show(watcher, console)
        else:
            _print_lines(watcher, _print_line)
    except KeyboardInterrupt:
        pass


def screen(view: View, width: int, clock: str) -> RenderableType:
    """Return what the terminal shows.

    Args:
        view: the present state.
        width: the number of characters in a line.
        clock: the time of day.
    """
    columns = [(name, show) for least, name, show in COLUMNS if width >= least]
    processes = Table(box=None, padding=(0, 2, 0, 0))
    for number, (name, _) in enumerate(columns):
        processes.add_column(name, justify="right" if number > 1 else "left", no_wrap=True)
    for process in view.processes:
        style = "bold red" if process.problem else ""
        processes.add_row(*(Text(show(process)) for _, show in columns), style=style)
    rows = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in _wrong_first(view):
        rows.add_row(*(Text(part) for part in _marked(row)), style="red" if row.is_wrong else "")
    title = Text(f"Fanfare at {clock}, rates of the last {WINDOW_SECONDS:.0f} s; q quits", "dim")
    return Group(title, "", processes, "", rows)


def line(view: View, clock: str) -> str:
    """Return the view on one line, for an output that is not a terminal."""
    processes = [
        f"{process.name}: "
        + (
            "DOWN"
            if process.problem
            else f"{format_number(process.calls_per_second)} calls/s, "
            f"{format_number(process.failures_per_second)} failed/s, "
            f"p99 {format_seconds(process.p99_seconds)}"
        )
        for process in view.processes
    ]
    return " | ".join([clock, *processes, *(": ".join(_marked(row)) for row in _wrong_first(view))])


def _show(watcher: Watcher, console: Console) -> None:
    logging.disable(logging.CRITICAL)  # a line of a log would stay on the screen
    with (
        single_keys() as wait_for_key,
        Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live,
    ):
        watcher.start()
        key = wait_for_key(FIRST_SECONDS)
        while key not in {"q", "Q"} and not output_has_ended():
            shown = screen(watcher.look(), console.width, time.strftime("%T"))
            live.update(shown, refresh=True)
            key = wait_for_key(REFRESH_SECONDS)


def _print_lines(watcher: Watcher, print_view: Callable[[View], None]) -> None:
    watcher.start()
    while not output_has_ended():
        time.sleep(REFRESH_SECONDS)
        print_view(watcher.look())


def _print_line(view: View) -> None:
    click.echo(line(view, time.strftime("%T")))


def _print_json(view: View) -> None:
    print_json_line({"time": time.time(), **dataclasses.asdict(view)})


def _wrong_first(view: View) -> Sequence[StatusRow]:
    problems = [
        StatusRow(row.name, row.problem, is_wrong=True) for row in view.processes if row.problem
    ]
    return sorted([*problems, *view.rows], key=lambda row: not row.is_wrong)


def _marked(row: StatusRow) -> tuple[str, str]:
    """Return the label, with a mark where a terminal without colours shows none, and the text."""
    return f"{'! ' if row.is_wrong else ''}{row.label}", one_line(row.text)
