"""`fanfare bench`: measure Fanfare on this machine."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import report
from bench.benchmarks import BENCHMARKS, FULL_SECONDS, QUICK_SECONDS, Benchmark
from bench.figures import Figure
from bench.graph import Graph, generate_graph, read_graph
from bench.harness import Bench, BenchError, Profile, start_bench
from bench.schedule import Schedule
from bench.tools import describe_missing_tools
from ops.system import ROOT

RESULTS = ROOT / "bench" / "results" / "latest.json"
DOCS = ROOT / "docs"
DATA = ROOT.parent / "shared" / "data"
# How many follows and posts of the real graph are used; None means all of them.
SIZES: dict[Profile, tuple[int | None, int | None]] = {
    Profile.FULL: (None, None),
    Profile.QUICK: (100_000, 30_000),
    Profile.SMOKE: (5000, 3000),
}

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare bench --quick
  fanfare bench read create
  fanfare bench --smoke
"""


@click.command(epilog=EXAMPLES)
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)), metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Smaller sizes and fewer repetitions; takes minutes.")
@click.option(
    "--smoke",
    is_flag=True,
    help="Tiny sizes, to check that every benchmark works; writes no results.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    help="Folder with follows.txt.gz and posts.jsonl.gz; default: ../shared/data of the checkout.",
)
def command(names: tuple[str, ...], data: Path, *, quick: bool, smoke: bool) -> None:
    """Measure the performance of this machine.

    Starts a system of its own, runs all benchmarks or those with the given names, and prints each
    figure against the raw limit of the layer beneath it. Writes every repetition to
    bench/results/latest.json, and the results page and its plots to docs.
    """
    # SIGTERM ends the run as Ctrl-C does: the figures so far are shown, and everything is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    profile = Profile.SMOKE if smoke else Profile.QUICK if quick else Profile.FULL
    console = Console()
    with Progress(
        TextColumn("{task.fields[row]:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
    ) as progress:
        rows = [BENCHMARKS[name] for name in dict.fromkeys(names or BENCHMARKS)]
        schedule = _schedule(rows, profile)
        task = progress.add_task("reading the graph", total=len(rows), row="")

        def step(text: str) -> None:
            progress.update(task, description=text)

        figures: list[Figure] = []
        failed = False
        try:
            graph = _graph(data, profile)
            with start_bench(graph, profile, step) as bench:
                where = report.describe_environment(bench)
                for number, row in enumerate(rows, 1):
                    progress.update(task, row=row.name)
                    planned = row.planned[profile is not Profile.FULL]
                    console.print(
                        f"{number} of {len(rows)}: {row.name} (about {planned} s)", highlight=False
                    )
                    bench.begin(schedule.begin(row.name))
                    try:
                        found = _measured(bench, row, console)
                    except BenchError as error:
                        failed = True
                        console.print(f"{row.name} failed: {error}", markup=False, soft_wrap=True)
                        continue
                    figures += found
                    if profile is not Profile.SMOKE:
                        report.save_results(RESULTS, where, found)
                    progress.advance(task)
                step("stopping")
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        finally:
            progress.stop()
            _show(figures, console)
    if profile is not Profile.SMOKE:
        _write(console)
    if failed:
        raise click.exceptions.Exit(1)


def _schedule(rows: Sequence[Benchmark], profile: Profile) -> Schedule:
    """Begin the time of the run and return its schedule."""
    planned = {row.name: row.planned[profile is not Profile.FULL] for row in rows}
    if len(rows) < len(BENCHMARKS):
        # Named benchmarks are repeated as often as wanted, however long that takes.
        return Schedule(planned, float("inf"))
    return Schedule(planned, FULL_SECONDS if profile is Profile.FULL else QUICK_SECONDS)


def _graph(data: Path, profile: Profile) -> Graph:
    edges, posts = SIZES[profile]
    if profile is Profile.SMOKE and not data.exists():
        return generate_graph(users=300, followings=20, posts=3000)
    try:
        return read_graph(data, edges, posts)
    except OSError as error:
        raise click.ClickException(
            f"cannot read the graph: {error}; give the folder that contains it with --data"
        ) from error


def _measured(bench: Bench, row: Benchmark, console: Console) -> list[Figure]:
    # A smoke run makes do without the load generators.
    if bench.profile is not Profile.SMOKE and (lacking := describe_missing_tools(row.tools)):
        console.print(f"{row.name} is skipped: {lacking}.", highlight=False, soft_wrap=True)
        return []
    figures = row.run(bench)
    if shortfall := bench.shortfall:
        console.print(f"{row.name}: {shortfall}", highlight=False)
        figures[0] = figures[0].with_note(shortfall)
    return figures


def _show(figures: Sequence[Figure], console: Console) -> None:
    if figures:
        # No line of the table should be wrapped when the output is a file.
        wide = console if console.is_terminal else Console(width=report.WIDTH)
        wide.print(report.table(figures))


def _write(console: Console) -> None:
    results = report.load_results(RESULTS)
    report.write_page(DOCS / "benchmarks-results.md", results, list(BENCHMARKS))
    console.print("Every repetition is in bench/results/latest.json.", highlight=False)
    if importlib.util.find_spec("matplotlib") is None:
        console.print(
            "No plots were drawn: matplotlib is not installed; requirements/dev.txt has it."
        )
        return
    # Imported only here, because it takes a second.
    plots = importlib.import_module("bench.plots")
    plots.draw(
        DOCS, results, list(BENCHMARKS), {name: row.work for name, row in BENCHMARKS.items()}
    )
    console.print("docs/benchmarks-results.md and its plots are updated.", highlight=False)
