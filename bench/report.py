"""Results: a table for the terminal, a JSON file with every value, and a page for the docs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from rich.table import Table

from bench.figures import Figure
from bench.harness import Bench
from embedded.jars import pinned_hashes

REACHED = {True: "reached", False: "missed", None: ""}
WIDTH = 300
COLUMNS = (
    *("benchmark", "case", "figure", "median [lowest, highest]", "limit", "ratio"),
    *("Go demo, scaled", "times the demo", "goal", ""),
)


@dataclass(frozen=True)
class Environment:
    """The machine, the versions, the data and the date of a run."""

    date: str
    profile: str
    graph: str
    cpu: str
    cores: int
    memory_gb: float
    system: str
    versions: dict[str, str]


def describe_environment(bench: Bench) -> Environment:
    """Describe the machine, the versions and the data of this run."""
    with psycopg.connect(bench.settings.primary_dsn()) as connection:
        postgres = connection.info.server_version
    with Redis.from_url(bench.settings.redis_address()) as redis:
        valkey: Any = redis.info("server")
    jars = pinned_hashes()
    kafka = next(jar for jar in jars if jar.startswith("org.apache.kafka:kafka_")).split(":")[-1]
    graph = bench.graph
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Environment(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=bench.profile.name.lower(),
        graph=f"{graph.source}: {graph.users:,} users, {graph.edges:,} follows, "
        f"{len(graph.posts):,} posts, {len(graph.followings):,} readers",
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        memory_gb=round(pages / 2**30, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions={
            "Python": platform.python_version(),
            "grpcio": version("grpcio"),
            "Postgres": f"{postgres // 10_000}.{postgres % 10_000}",
            "Valkey": str(valkey.get("valkey_version", valkey["redis_version"])),
            "Kafka": kafka,
        },
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def cells(figure: Figure) -> tuple[str, ...]:
    """Return the cells of the figure's row in a table."""
    low, high = figure.spread
    limit, ratio, times = figure.limit_median, figure.ratio, figure.times_demo
    return (
        figure.benchmark,
        figure.case,
        f"{figure.metric}, {figure.unit}" if figure.unit else figure.metric,
        f"{_number(figure.median)} [{_number(low)}, {_number(high)}]",
        "" if limit is None else f"{_number(limit)} {figure.limit_name}",
        "" if ratio is None else f"{ratio:.2f}",
        "" if figure.demo_scaled is None else _number(figure.demo_scaled),
        "" if times is None else f"{times:.1f}",
        figure.goal,
        REACHED[figure.reached],
    )


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def table(figures: Sequence[Figure]) -> Table:
    """Return a table of figures for the terminal."""
    made = Table(*COLUMNS)
    for n, figure in enumerate(figures):
        last = n + 1 == len(figures) or figures[n + 1].benchmark != figure.benchmark
        style = {True: "green", False: "red", None: ""}[figure.reached]
        *texts, reached = cells(figure)
        made.add_row(*texts, f"[{style}]{reached}[/]" if style else "", end_section=last)
    return made


Results = dict[str, tuple[Environment, list[Figure]]]
"""The last result of each benchmark, by its name."""


def load_results(path: Path) -> Results:
    """Return the saved results; empty if the file does not exist."""
    if not path.exists():
        return {}
    found = {}
    for name, result in json.loads(path.read_text()).items():
        environment = Environment(**{field: result[field] for field in _field_names(Environment)})
        # Earlier versions did not write all fields; what they lack has its default.
        figures = [
            Figure(
                **{
                    field: _to_tuple(figure[field])
                    for field in _field_names(Figure)
                    if field in figure
                }
            )
            for figure in result["figures"]
        ]
        found[name] = (environment, figures)
    return found


def save_results(path: Path, environment: Environment, figures: Sequence[Figure]) -> None:
    """Save the figures, and keep the saved results of benchmarks that were not run."""
    results = load_results(path)
    for name in dict.fromkeys(figure.benchmark for figure in figures):
        own = [figure for figure in figures if figure.benchmark == name]
        results[name] = (environment, own)
    written = {
        name: asdict(environment)
        | {
            "figures": [
                asdict(figure)
                | {
                    "median": figure.median,
                    "limit_median": figure.limit_median,
                    "ratio": figure.ratio,
                }
                for figure in found
            ]
        }
        for name, (environment, found) in results.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


def write_page(path: Path, results: Results, order: Sequence[str]) -> None:
    """Write a Markdown page with all results.

    Args:
        path: the file to write.
        results: what to write.
        order: the names of the benchmarks, in order.
    """
    lines = [
        "# Results",
        "",
        "This page is generated by `fanfare bench`. [Benchmarks](benchmarks.md) explains what each",
        "benchmark does and how its figures are measured. Limits and ratios are of the same run as",
        "the figure beside them. The figures of the Go demo are of another run on another machine,",
        "and scaled to the speed of this one ([how](benchmarks.md#the-go-demo)).",
        "",
        "![Each part against the raw limit of the layer beneath it](benchmarks-rows.svg)",
        "![Latencies](benchmarks-latency.svg)",
        "![The cost of a warm read as the data grow](benchmarks-growth.svg)",
        "",
        _line(COLUMNS),
        _line(["---"] * len(COLUMNS)),
    ]
    lines += [
        _line(cells(figure)) for name in order if name in results for figure in results[name][1]
    ]
    lines += ["", "Notes:", ""]
    for name in order:
        _, figures = results.get(name, (None, []))
        lines += [f"- {name}: {note}." for note in dict.fromkeys(f.note for f in figures) if note]
    lines += ["", "Runs:", ""]
    runs: dict[str, list[str]] = {}
    for name in order:
        if name in results:
            run = results[name][0]
            versions = ", ".join(f"{part} {version}" for part, version in run.versions.items())
            runs.setdefault(
                f"{run.date}, profile {run.profile}, {run.cpu}, {run.cores} cores, "
                f"{run.memory_gb:g} GB, {run.system}; {versions}; {run.graph}",
                [],
            ).append(name)
    lines += [f"- {', '.join(names)}: {run_text}." for run_text, names in runs.items()]
    path.write_text("\n".join(lines) + "\n")


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _field_names(kind: type[Figure | Environment]) -> list[str]:
    return [field.name for field in fields(kind)]


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
