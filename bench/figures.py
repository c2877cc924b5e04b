"""What a row says: a figure for each repetition, beside its raw limit and its goal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One thing measured, once for each repetition."""

    row: str
    """The name of the row."""
    case: str
    """Which variant of the row's work, "" where there is one only."""
    what: str
    """What is measured, such as "deliveries"."""
    unit: str
    """Such as "1/s", "µs", "ms", "%" or "KB"."""
    values: tuple[float, ...]
    limit: str = ""
    """What the raw limit is, in words; "" where there is none."""
    limits: tuple[float, ...] = ()
    """The limit in the same unit, taken in the same repetitions."""
    reach: str = ""
    """The goal, in words; "" where there is none."""
    reached: bool | None = None
    """Whether the goal is reached; None where there is none."""
    note: str = ""
    """What a reader must know to read the figure right."""

    def __post_init__(self) -> None:
        """Raise ValueError for a figure without values, or with another number of limits."""
        if not self.values or len(self.limits) not in {0, len(self.values)}:
            raise ValueError(f"{self.row} {self.what}: {self.values} beside {self.limits}")

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
        """The median of the limits, None where there are none."""
        return median(self.limits) if self.limits else None

    @property
    def ratio(self) -> float | None:
        """The median of value by limit of the same repetition, None where there are no limits."""
        if not self.limits or not all(self.limits):
            return None
        return median(v / limit for v, limit in zip(self.values, self.limits, strict=True))

    def with_goal(self, reach: str, *, reached: bool) -> Figure:
        """Return the figure with its goal."""
        return replace(self, reach=reach, reached=reached)
