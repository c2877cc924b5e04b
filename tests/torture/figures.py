"""What a torture run did, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.runtime.metrics import Metric

# Metric paths that stories do not take, each with the reason and the place of its own test.
EXEMPT: dict[Metric, str] = {}


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
        """Return the sums in one line."""
        return (
            f"{self.stories:,} stories, {self.operations.total():,} operations, "
            f"{self.faults.total():,} faults, {self.pages:,} pages and {self.tweets:,} tweets "
            "compared"
        )

    def table(self, rare: Mapping[Metric, int]) -> str:
        """Return everything, a figure a line."""
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
            "rare paths": {path.value: rare.get(path, 0) for path in Metric},
        }
        lines = []
        for title, counts in sections.items():
            lines += [f"{title}: {sum(counts.values()):,}"] if title else []
            lines += [f"  {name:<28}{count:>12,}" for name, count in counts.items()]
        return "\n".join(lines)


def never_taken(rare: Mapping[Metric, int]) -> list[Metric]:
    """Return the rare paths that were not taken although a long run must take them."""
    return [path for path in Metric if not rare.get(path) and path not in EXEMPT]
