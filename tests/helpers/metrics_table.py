"""The table of Fanfare's own metrics in docs/operations.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
COLUMNS = 5
PROCESSES = ("write", "read", "worker")


@dataclass(frozen=True)
class DocumentedMetric:
    """A row of the table."""

    name: str
    labels: frozenset[str]
    processes: tuple[str, ...]
    is_histogram: bool

    @property
    def series(self) -> str:
        """The name that one of its series has."""
        return f"{self.name}_count" if self.is_histogram else self.name


def documented_metrics() -> list[DocumentedMetric]:
    """Return the rows of the table."""
    found = []
    for line in _PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        # The table of all processes has fewer columns.
        if line.startswith("| `fanfare_") and len(cells) == COLUMNS:
            name, labels, unit, processes, _ = cells
            found.append(
                DocumentedMetric(
                    name.strip("`"),
                    frozenset(re.findall(r"`(\w+)`", labels)),
                    tuple(processes.split(", ")),
                    "histogram" in unit,
                )
            )
    return found
