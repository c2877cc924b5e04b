"""Draws the panels of the dashboards from a running Prometheus, where there is no Grafana.

    python deploy/observability/render.py http://127.0.0.1:9095 docs/images --minutes 5

writes one PNG for each dashboard. The queries are those of the dashboards' files.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter
from PIL import Image

from core.rpc.tls import open_url

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
COLUMNS = 3
POINTS = 150
# Grafana chooses it by the scrape interval and the width of the panel.
RATE_INTERVAL = "20s"
LEGEND_LINES = 8
COLORS = 128
UNITS = {"s": "s", "bytes": "B", "Bps": "B/s", "ops": "/s", "short": ""}


def ask(address: str, query: str, begin: float, end: float) -> list[dict[str, Any]]:
    """Return the series that a query has in a time."""
    arguments = urlencode(
        {"query": query, "start": begin, "end": end, "step": (end - begin) / POINTS}
    )
    with open_url(f"{address}/api/v1/query_range?{arguments}", None, timeout=60) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result


def legend_of(template: str, labels: dict[str, str]) -> str:
    """Return what Grafana calls a series."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


def draw_panel(axes: Axes, panel: dict[str, Any], address: str, begin: float, end: float) -> None:
    """Draw what the queries of a panel find."""
    axes.set_title(panel["title"], fontsize=9)
    highest = 0.0
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
        for series in ask(address, query, begin, end):
            legend = legend_of(target["legendFormat"], series["metric"])
            times = [(at - begin) / 60 for at, _ in series["values"]]
            values = [float(value) for _, value in series["values"]]
            highest = max(highest, *(value for value in values if math.isfinite(value)), 0.0)
            axes.plot(times, values, label=legend, linewidth=1)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    is_share = unit == "percentunit"
    axes.yaxis.set_major_formatter(
        PercentFormatter(1) if is_share else EngFormatter(UNITS[unit], sep="")
    )
    axes.set_ylim(0, highest * 1.1 or 1)
    axes.set_xlim(0, (end - begin) / 60)
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, linewidth=0.3)
    handles, legends = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles[:LEGEND_LINES], legends[:LEGEND_LINES], fontsize=6, loc="best")
    else:
        axes.text(0.5, 0.5, "no series", transform=axes.transAxes, ha="center", fontsize=8)


def draw(dashboard: dict[str, Any], address: str, begin: float, end: float, path: Path) -> None:
    """Draw a dashboard into a file."""
    panels = [panel for panel in dashboard["panels"] if panel["type"] == "timeseries"]
    lines = -(-len(panels) // COLUMNS)
    figure, grid = plt.subplots(lines, COLUMNS, figsize=(15, 2.4 * lines), squeeze=False)
    places = list(grid.flat)
    for axes, panel in zip(places, panels, strict=False):
        draw_panel(axes, panel, address, begin, end)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(f"{dashboard['title']} (minutes)", fontsize=11)
    figure.tight_layout()
    drawn = BytesIO()
    figure.savefig(drawn, dpi=80)
    # Half the size.
    Image.open(drawn).quantize(COLORS).save(path, optimize=True)


def main() -> None:
    """Draw all dashboards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="the URL of Prometheus")
    parser.add_argument("folder", type=Path, help="where to write the images")
    parser.add_argument("--minutes", type=float, default=10, help="how far back to look")
    given = parser.parse_args()
    end = time.time()
    given.folder.mkdir(exist_ok=True)
    for file in sorted(FOLDER.glob("*.json")):
        path = given.folder / f"dashboard-{file.stem}.png"
        draw(json.loads(file.read_text()), given.address, end - given.minutes * 60, end, path)


if __name__ == "__main__":
    main()
