"""What a run found: a table to look at, and a file for whoever compares."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from rich.table import Table

from bench.figures import Figure
from bench.session import Bench
from embedded.jars import pinned

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
    kafka = next(jar for jar in pinned() if jar.startswith("org.apache.kafka:kafka_")).split(":")[
        -1
    ]
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


def keep(path: Path, where: Surroundings, figures: Sequence[Figure]) -> None:
    """Write all that was measured, each repetition of it; rows that were not stay as they are."""
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    for row in dict.fromkeys(figure.row for figure in figures):
        found = [
            asdict(figure)
            | {"median": figure.median, "limit_median": figure.limit_median, "ratio": figure.ratio}
            for figure in figures
            if figure.row == row
        ]
        rows[row] = asdict(where) | {"figures": found}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
