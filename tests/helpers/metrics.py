"""The metrics of rare events that processes write to their logs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from core.runtime.metrics import Metric


def sum_metrics(logs: Path) -> Counter[Metric]:
    """Return the sum of each metric over a folder of logs, earlier runs of a process included."""
    counts: Counter[Metric] = Counter()
    for log in logs.glob("*.log"):
        for line in re.findall(r" metrics: (.*)", log.read_text(errors="replace")):
            for name, times in (item.split("=") for item in line.split()):
                counts[Metric(name)] += int(times)
    return counts
