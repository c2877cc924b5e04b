"""What a run found: a table to look at, and a file for whoever compares."""

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
from bench.session import Bench
from embedded.jars import pinned_hashes

MEASURED = {True: "reached", False: "missed", None: ""}
WIDTH = 200
COLUMNS = ("row", "case", "figure", "median [lowest, highest]", "limit", "ratio", "reach", "")


@dataclass(frozen=True)
class Surroundings:
    """Where and when a run took place."""

    date: str
    profile: str
    graph: str
    cpu: str
    cores: int
    memory_gb: float
    system: str
    versions: dict[str, str]


def surroundings(bench: Bench) -> Surroundings:
    """Return where and when this is."""
    with psycopg.connect(bench.settings.primary_dsn()) as connection:
        postgres = connection.info.server_version
    with Redis.from_url(bench.settings.redis_address()) as redis:
        valkey: Any = redis.info("server")
    jars = pinned_hashes()
    kafka = next(jar for jar in jars if jar.startswith("org.apache.kafka:kafka_")).split(":")[-1]
    graph = bench.graph
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Surroundings(
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
    """Return the figure as the cells of a table's row."""
    low, high = figure.spread
    limit, ratio = figure.limit_median, figure.ratio
    return (
        figure.row,
        figure.case,
        f"{figure.what}, {figure.unit}" if figure.unit else figure.what,
        f"{_number(figure.median)} [{_number(low)}, {_number(high)}]",
        "" if limit is None else f"{_number(limit)} {figure.limit}",
        "" if ratio is None else f"{ratio:.2f}",
        figure.reach,
        MEASURED[figure.reached],
    )


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def table(figures: Sequence[Figure]) -> Table:
    """Return a table for a terminal."""
    made = Table(*COLUMNS)
    for n, figure in enumerate(figures):
        last = n + 1 == len(figures) or figures[n + 1].row != figure.row
        style = {True: "green", False: "red", None: ""}[figure.reached]
        *texts, reached = cells(figure)
        made.add_row(*texts, f"[{style}]{reached}[/]" if style else "", end_section=last)
    return made


Results = dict[str, tuple[Surroundings, list[Figure]]]


def kept(path: Path) -> Results:
    """Return what was last measured of each row."""
    if not path.exists():
        return {}
    found = {}
    for row, result in json.loads(path.read_text()).items():
        where = Surroundings(**{name: result[name] for name in _names(Surroundings)})
        figures = [
            Figure(**{name: _tuples(figure[name]) for name in _names(Figure)})
            for figure in result["figures"]
        ]
        found[row] = (where, figures)
    return found


def keep(path: Path, where: Surroundings, figures: Sequence[Figure]) -> None:
    """Write all that was measured, each repetition of it; rows that were not stay as they are."""
    results = kept(path)
    for row in dict.fromkeys(figure.row for figure in figures):
        results[row] = (where, [figure for figure in figures if figure.row == row])
    written = {
        row: asdict(where)
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
        for row, (where, found) in results.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


def write_page(path: Path, results: Results, order: Sequence[str]) -> None:
    """Write the figures of all rows as a page, in this order of the rows."""
    lines = [
        "# Results",
        "",
        "Written by `fanfare bench`; [benchmarks](benchmarks.md) says what each row does and how",
        "its figures are made. Median [lowest, highest] of the repetitions; limit and ratio are",
        "of the same run.",
        "",
        "![What each row reaches beside its raw limit](benchmarks-rows.svg)",
        "![How long callers wait](benchmarks-latency.svg)",
        "![A warm read as everything grows](benchmarks-growth.svg)",
        "",
        _line(COLUMNS),
        _line(["---"] * len(COLUMNS)),
    ]
    lines += [_line(cells(figure)) for row in order if row in results for figure in results[row][1]]
    lines += ["", "Notes:", ""]
    for row in order:
        _, figures = results.get(row, (None, []))
        lines += [f"- {row}: {note}." for note in dict.fromkeys(f.note for f in figures) if note]
    lines += ["", "Where and when:", ""]
    runs: dict[str, list[str]] = {}
    for row in order:
        if row in results:
            where = results[row][0]
            versions = ", ".join(f"{name} {number}" for name, number in where.versions.items())
            runs.setdefault(
                f"{where.date}, profile {where.profile}, {where.cpu}, {where.cores} cores, "
                f"{where.memory_gb:g} GB, {where.system}; {versions}; {where.graph}",
                [],
            ).append(row)
    lines += [f"- {', '.join(rows)}: {run}." for run, rows in runs.items()]
    path.write_text("\n".join(lines) + "\n")


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _names(kind: type[Figure | Surroundings]) -> list[str]:
    return [field.name for field in fields(kind)]


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
