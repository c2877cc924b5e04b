"""`fanfare bench`: figures of this machine, each beside the raw limit of the same run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import report
from bench.figures import Figure
from bench.graph import Graph, made_up_graph, real_graph
from bench.rows import ROWS
from bench.session import Bench, BenchError, Profile, started
from bench.tools import missing
from cli.migrate import MigrateError
from cli.system import ROOT
from embedded.stack import StackError

DATA = ROOT.parent / "shared" / "data"
SMOKE_EDGES, SMOKE_POSTS = 5000, 3000


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ROWS)), metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Fewer repetitions and smaller sizes: minutes.")
@click.option("--smoke", is_flag=True, help="Tiny sizes, to see that it works; writes nothing.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    help="The folder of follows.txt.gz and posts.jsonl.gz; ../shared/data beside the checkout.",
)
def command(names: tuple[str, ...], data: Path, *, quick: bool, smoke: bool) -> None:
    """Measure everything, or the rows of these names, on an embedded stack of its own.

    Prints a table, and writes bench/results/latest.json and the plots in docs.
    """
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
        rows = [ROWS[name] for name in dict.fromkeys(names or ROWS)]
        task = progress.add_task("reading the graph", total=len(rows), row="")

        def step(text: str) -> None:
            progress.update(task, description=text)

        try:
            graph = _graph(data, profile)
            with started(graph, profile, step) as bench:
                where = report.surroundings(bench)
                figures: list[Figure] = []
                for row in rows:
                    progress.update(task, row=row.name)
                    figures += _measured(bench, row.name, console)
                    progress.advance(task)
                step("stopping")
        except (StackError, MigrateError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
    # As wide as the table where there is no terminal that would break its lines.
    wide = console if console.is_terminal else Console(width=report.WIDTH)
    wide.print(report.table(figures))
    if profile is not Profile.SMOKE:
        _write(where, figures, console)


def _graph(data: Path, profile: Profile) -> Graph:
    try:
        if profile is not Profile.SMOKE:
            return real_graph(data)
        if data.exists():
            return real_graph(data, SMOKE_EDGES, SMOKE_POSTS)
    except OSError as error:
        raise click.ClickException(
            f"the graph cannot be read ({error}): name the folder that has it with --data."
        ) from error
    return made_up_graph(users=300, followings=20, posts=SMOKE_POSTS)


def _measured(bench: Bench, name: str, console: Console) -> list[Figure]:
    row = ROWS[name]
    # A smoke does without: it is to see that the row works.
    if bench.profile is not Profile.SMOKE and (lacking := missing(row.tools)):
        console.print(f"{name} is left out: {lacking}.", highlight=False, soft_wrap=True)
        return []
    try:
        return row.run(bench)
    except BenchError as error:
        console.print(f"{name} failed: {error}", highlight=False, markup=False, soft_wrap=True)
        return []


def _write(where: report.Surroundings, figures: Sequence[Figure], console: Console) -> None:
    report.keep(ROOT / "bench" / "results" / "latest.json", where, figures)
    console.print("bench/results/latest.json has every repetition.", highlight=False)
