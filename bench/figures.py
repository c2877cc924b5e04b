"""Figures: what a benchmark measured, with its raw limit and its goal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One metric of a benchmark, with one value for each repetition."""

    benchmark: str
    """The name of the benchmark."""
    case: str
    """The variant of the benchmark, or "" if there is only one."""
    metric: str
    """What is measured, such as "deliveries"."""
    unit: str
    """Such as "1/s", "µs", "ms", "%" or "KB"."""
    values: tuple[float, ...]
    limit_name: str = ""
    """What the raw limit is, or "" if there is none."""
    limits: tuple[float, ...] = ()
    """The raw limit in the same unit, measured in the same repetitions."""
    goal: str = ""
    """The goal in words, or "" if there is none."""
    reached: bool | None = None
    """Whether the goal is reached, or None if there is none."""
    note: str = ""
    """What a reader has to know to interpret the figure."""
    demo: float | None = None
    """The Go demo's figure in the same unit, from another run on another machine."""
    demo_scaled: float | None = None
    """The same, scaled to the speed of this machine (bench/go_demo.py)."""

    def __post_init__(self) -> None:
        """Raise ValueError if there are no values, or not as many limits as values."""
        if not self.values or len(self.limits) not in {0, len(self.values)}:
            raise ValueError(
                f"{self.benchmark} {self.metric}: {len(self.values)} values and "
                f"{len(self.limits)} limits"
            )

    @property
    def median(self) -> float:
        """The median of the values."""
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return min(self.values), max(self.values)

    @property
    def limit_median(self) -> float | None:
        """The median of the limits, or None if there are none."""
        return median(self.limits) if self.limits else None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios of value to limit in each repetition.

        None if there are no limits, or if one is zero.
        """
        if not self.limits or not all(self.limits):
            return None
        return median(v / limit for v, limit in zip(self.values, self.limits, strict=True))

    @property
    def times_demo(self) -> float | None:
        """How many times better than the scaled figure of the Go demo, or None without one."""
        if not self.demo_scaled or not self.median:
            return None
        if self.unit == "1/s":
            return self.median / self.demo_scaled
        return self.demo_scaled / self.median

    def with_note(self, note: str) -> Figure:
        """Return the figure with a further note."""
        return replace(self, note="; ".join(filter(None, (self.note, note))))

    def with_goal(self, goal: str, *, reached: bool) -> Figure:
        """Return the figure with a goal.

        Args:
            goal: the goal in words.
            reached: whether the values reach it.
        """
        return replace(self, goal=goal, reached=reached)
