"""What dashboards consist of, and their form in Grafana."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

COLUMNS = 24
PER_ROW = 3
HEIGHT = 7
SCHEMA_VERSION = 39
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """A graph over time."""

    title: str
    unit: str
    """A unit of Grafana: ops, s, short, percentunit, bytes, Bps."""
    queries: Mapping[str, str]
    """PromQL, by what Grafana calls each of its series; [$i] is the interval of rates."""
    description: str = ""


@dataclass(frozen=True)
class Row:
    """Some panels under a title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """A page of rows."""

    name: str
    title: str
    rows: Sequence[Row]


def to_json(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana stores it."""
    ids = count(1)
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        panels.append(
            {"id": next(ids), "type": "row", "title": row.title, "gridPos": place, "panels": []}
        )
        width = COLUMNS // PER_ROW
        for number, panel in enumerate(row.panels):
            line, column = divmod(number, PER_ROW)
            place = {"h": HEIGHT, "w": width, "x": column * width, "y": top + 1 + line * HEIGHT}
            panels.append({"id": next(ids), "gridPos": place} | _panel(panel))
        top += 1 + -(-len(row.panels) // PER_ROW) * HEIGHT
    return {
        "uid": f"fanfare-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["fanfare"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [
            {"type": "dashboards", "tags": ["fanfare"], "title": "Fanfare", "keepTime": True}
        ],
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": expr.replace("[$i]", "[$__rate_interval]"),
                "legendFormat": legend,
            }
            for number, (legend, expr) in enumerate(panel.queries.items())
        ],
    }
