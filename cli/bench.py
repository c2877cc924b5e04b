"""`fanfare bench`: figures of this machine, each beside the raw limit of the same run."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from bench.graph import made_up_graph, real_graph
from bench.rows import ROWS
from bench.session import Profile, started

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ROWS)))
@click.option("--quick", is_flag=True, help="Fewer repetitions, smaller sizes.")
@click.option("--smoke", is_flag=True, help="Tiny sizes; nothing is written.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=DATA)
def command(names: tuple[str, ...], data: Path, *, quick: bool, smoke: bool) -> None:
    """Measure; all rows, or those named."""
    profile = Profile.SMOKE if smoke else Profile.QUICK if quick else Profile.FULL
    console = Console()
    if profile is Profile.SMOKE:
        graph = real_graph(data, 5000, 3000) if data.exists() else made_up_graph(300, 20, 3000)
    else:
        graph = real_graph(data, None, None)
    with started(graph, profile, console.print) as bench:
        for name in names or ROWS:
            for figure in ROWS[name].run(bench):
                console.print(figure, figure.median, figure.ratio)
