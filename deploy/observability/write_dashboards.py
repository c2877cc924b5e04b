"""Writes the files of Grafana's dashboards; `make gen` runs it.

python deploy/observability/write_dashboards.py
"""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.layout import Dashboard, to_json
from dashboards.overview import OVERVIEW
from dashboards.paths import FAN_OUT, READ_PATH, WRITE_PATH

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
DASHBOARDS = (OVERVIEW, WRITE_PATH, FAN_OUT, READ_PATH)


def as_text(dashboard: Dashboard) -> str:
    """Return the content of a dashboard's file."""
    return json.dumps(to_json(dashboard), indent=2) + "\n"


def main() -> None:
    """Write all dashboards."""
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.name}.json").write_text(as_text(dashboard))


if __name__ == "__main__":
    main()
