"""The figures of a torture run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.runtime.metrics import Metric

# Metrics that stories cannot raise, each with the reason and the name of the test that does.
EXEMPT: dict[Metric, str] = {
    Metric.POSTGRES_OVERLOADED: "too few callers; tests/unit/core/storage/test_shares.py",
    Metric.ERASURE_STEP: "too few tweets of a user; tests/acceptance/test_deletion.py",
    Metric.USER_ERASED: "too few tweets of a user; tests/acceptance/test_deletion.py",
    Metric.AUTHOR_LOCKED: "nobody holds a lock; tests/acceptance/test_locked_users.py",
    Metric.TWEET_ID_REPEATED: "no clock is set back; tests/acceptance/test_tweet_ids.py",
    Metric.TRACE_REFUSED: "traces are off; tests/unit/core/runtime/test_tracing.py",
    Metric.SPAN_DROPPED: "traces are off; tests/unit/core/runtime/test_open_telemetry.py",
}


@dataclass
class Figures:
    """Counts over all stories of a run."""

    stories: int = 0
    comparisons: int = 0
    timelines: int = 0
    pages: int = 0
    tweets: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """Return the most important sums in one line."""
        return (
            f"{self.stories:,} stories, {self.operations.total():,} operations, "
            f"{self.faults.total():,} faults, {self.pages:,} pages and {self.tweets:,} tweets "
            "compared"
        )

    def table(self, metrics: Mapping[Metric, int]) -> str:
        """Return all figures, one in each line."""
        sections = {
            "": {
                "stories": self.stories,
                "comparisons with the oracle": self.comparisons,
                "timelines compared": self.timelines,
                "pages compared": self.pages,
                "tweets compared": self.tweets,
            },
            "operations": dict(sorted(self.operations.items())),
            "faults": dict(sorted(self.faults.items())),
            "metrics": {metric.value: metrics.get(metric, 0) for metric in Metric},
        }
        lines = []
        for title, counts in sections.items():
            lines += [f"{title}: {sum(counts.values()):,}"] if title else []
            lines += [f"  {name:<28}{count:>12,}" for name, count in counts.items()]
        return "\n".join(lines)


def never_counted(metrics: Mapping[Metric, int]) -> list[Metric]:
    """Return the metrics that are still zero, although a long run must raise them."""
    return [metric for metric in Metric if not metrics.get(metric) and metric not in EXEMPT]
