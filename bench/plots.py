"""Plots of the results, as SVG files that can be understood without further text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import StrMethodFormatter

from bench.figures import Figure
from bench.report import Results

OURS, LIMIT, GO = "#1f6feb", "#9aa4b2", "#e0a526"
REACHED = {True: "goal reached", False: "goal missed", None: ""}
MORE = {"1/s"}
MARKS = {"p50": "o", "p95": "^", "p99": "D"}
COLUMNS = 2
# Text stays text, and the same figures always give the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fanfare", "font.size": 9})


def draw(folder: Path, results: Results, order: Sequence[str], works: dict[str, str]) -> None:
    """Draw the figures that have a goal, the latencies, and the growth of a warm read.

    Args:
        folder: where the files go.
        results: what to draw.
        order: the names of the benchmarks, in order.
        works: what each benchmark does, in words.
    """
    figures = [
        figure
        for name in order
        if name in results
        for figure in results[name][1]
        if figure.reached is not None and any(figure.values) and name != "growth"
    ]
    if figures:
        where = results[figures[0].benchmark][0]
        _draw_goals(
            folder / "benchmarks-rows.svg",
            figures,
            works,
            f"{where.cpu}, {where.cores} cores, everything on it; {where.date[:10]}",
        )
    latencies = [
        figure
        for name in order
        for figure in results.get(name, (None, []))[1]
        if figure.unit == "ms" and _percentile(figure)
    ]
    if latencies:
        where = results[latencies[0].benchmark][0]
        _draw_latencies(
            folder / "benchmarks-latency.svg",
            latencies,
            f"{where.cpu}, {where.cores} cores, everything on it; {where.date[:10]}",
        )
    if "growth" in results:
        where, grown = results["growth"]
        _draw_growth(
            folder / "benchmarks-growth.svg",
            grown,
            f"{where.cpu}, {where.cores} cores; {where.date[:10]}",
        )


def _draw_goals(path: Path, figures: Sequence[Figure], works: dict[str, str], where: str) -> None:
    lines = -(-len(figures) // COLUMNS)
    picture = Picture(figsize=(5.6 * COLUMNS, 2.0 * lines + 0.8), layout="constrained")
    picture.suptitle(
        f"Each part against the raw limit of the layer beneath it, in the same run\n{where}",
        fontsize=11,
    )
    grid: Any = picture.subplots(lines, COLUMNS, squeeze=False)
    for axes in grid.flat[len(figures) :]:
        axes.set_visible(False)
    for axes, figure in zip(grid.flat, figures, strict=False):
        _draw_figure(axes, figure, works.get(figure.benchmark, figure.benchmark))
    _save(picture, path)


def _draw_figure(axes: Axes, figure: Figure, work: str) -> None:
    bars = [("Fanfare", figure.median, figure.spread, OURS)]
    if figure.limits:
        assert figure.limit_median is not None  # noqa: S101 - there are limits
        spread = (min(figure.limits), max(figure.limits))
        bars.append((figure.limit_name, figure.limit_median, spread, LIMIT))
    if demo := figure.demo_scaled:
        bars.append(("the Go demo, another run, scaled", demo, (demo, demo), GO))
    longest = max(spread[1] for *_, spread, _ in bars) or 1.0
    for place, (name, value, spread, colour) in enumerate(bars):
        axes.barh(place, value, color=colour, height=0.45)
        axes.plot(spread, (place, place), color="black", linewidth=1)
        axes.text(
            0,
            place - 0.26,
            f"{name}: {value:,.{0 if value >= 100 else 2}f}",
            va="bottom",
            fontsize=8,
        )
    axes.set_ylim(2.4, -0.7)
    axes.set_xlim(0, longest * 1.05)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    better = "more is better" if figure.unit in MORE else "less is better"
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.locator_params(axis="x", nbins=6)
    case = f" ({figure.case})" if figure.case else ""
    axes.set_title(
        f"{work}{case}\n{figure.metric}, {figure.unit or 'number'}; {better}\n"
        f"{REACHED[figure.reached]}: {figure.goal}",
        fontsize=9,
        loc="left",
    )


def _draw_growth(path: Path, figures: Sequence[Figure], where: str) -> None:
    series: dict[str, list[tuple[float, Figure]]] = {}
    for figure in figures:
        if figure.unit == "µs":
            number, _, what = figure.case.partition(" ")
            series.setdefault(what, []).append((float(number.replace(",", "")), figure))
    picture = Picture(figsize=(3.7 * len(series), 3.2), layout="constrained")
    picture.suptitle(f"Server CPU of a warm GetHomeTimeline as the data grow\n{where}")
    grid: Any = picture.subplots(1, len(series), squeeze=False, sharey=True)
    for axes, (what, points) in zip(grid.flat, series.items(), strict=True):
        numbers = [number for number, _ in points]
        medians = [figure.median for _, figure in points]
        below = [figure.median - figure.spread[0] for _, figure in points]
        above = [figure.spread[1] - figure.median for _, figure in points]
        axes.errorbar(numbers, medians, yerr=(below, above), color=OURS, marker="o", capsize=3)
        axes.set_xscale("log")
        axes.set_ylim(0)
        axes.set_xlabel(what)
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylabel("µs of server CPU per call")
    _save(picture, path)


def _percentile(figure: Figure) -> str:
    """Return which percentile a latency figure is, such as "p50", or "" if it is not one."""
    return next((name for name in MARKS if figure.metric.endswith(name)), "")


def _draw_latencies(path: Path, figures: Sequence[Figure], where: str) -> None:
    lines: dict[str, list[Figure]] = {}
    for figure in figures:
        metric = figure.metric.removesuffix(_percentile(figure)).removesuffix(", ")
        name = f"{figure.benchmark} ({figure.case})" if figure.case else figure.benchmark
        lines.setdefault(name if metric == "latency" else f"{name}: {metric}", []).append(figure)
    picture = Picture(figsize=(11, 0.34 * len(lines) + 1.7), layout="constrained")
    picture.suptitle(f"Latencies\n{where}", fontsize=11)
    axes: Any = picture.subplots()
    for place, found in enumerate(lines.values()):
        for figure in found:
            mark = MARKS[_percentile(figure)]
            if figure.limit_median is not None:
                axes.plot(figure.limit_median, place + 0.18, mark, color=LIMIT, markersize=5)
            axes.plot(figure.median, place - 0.1, mark, color=OURS, markersize=7)
    for name, mark in MARKS.items():
        axes.plot([], [], mark, color=OURS, label=f"Fanfare, {name}")
    axes.plot([], [], "s", color=LIMIT, label="the raw limit in the same run")
    axes.set_yticks(range(len(lines)), list(lines))
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_xlabel("ms")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    picture.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _save(picture, path)


def _save(picture: Picture, path: Path) -> None:
    picture.savefig(path, metadata={"Date": None})
