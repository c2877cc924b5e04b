"""The time of a run: how long each benchmark may take, so that the run ends in time.

Each benchmark has a planned time, which is what it takes on two ordinary cores. What earlier
benchmarks left of the time of the run, or took of it, is shared by the later ones. On a slow
machine a benchmark is repeated fewer times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Clock = Callable[[], float]


class Schedule:
    """Shares the time of a run among its benchmarks."""

    def __init__(
        self, planned: Mapping[str, float], seconds: float, clock: Clock = time.monotonic
    ) -> None:
        """Begin the run.

        Args:
            planned: the planned seconds of each benchmark, in the order in which they run.
            seconds: the time of the whole run from now, stopping included.
            clock: returns the time in seconds.
        """
        self._left = dict(planned)
        self._end = clock() + seconds
        self._clock = clock

    def begin(self, name: str) -> float:
        """Begin a benchmark; return how many seconds it may take."""
        remaining = max(0.0, self._end - self._clock())
        share = self._left[name] / sum(self._left.values())
        del self._left[name]
        return share * remaining


@dataclass
class Repetitions:
    """Counts the repetitions of the measurements of one benchmark."""

    wanted: int
    seconds: float = float("inf")
    """How many seconds the benchmark may take, its preparation included."""
    clock: Clock = time.monotonic
    done: list[int] = field(default_factory=list)
    """How many repetitions each series of the benchmark had."""

    def __post_init__(self) -> None:
        """Begin the time of the benchmark."""
        self._started = self.clock()

    def series(self, share: float = 1.0) -> Iterator[int]:
        """Yield 1, 2, … for each repetition of a series of measurements.

        There are fewer than wanted, but at least one, if the next would not end in time.

        Args:
            share: the part of the benchmark's time after which this series has to be over. A
                benchmark with two series gives one half for the first.
        """
        deadline = self._started + share * self.seconds
        self.done.append(0)
        longest = 0.0
        for number in range(1, self.wanted + 1):
            started = self.clock()
            if number > 1 and started + longest > deadline:
                return
            yield number
            self.done[-1] = number
            longest = max(longest, self.clock() - started)

    @property
    def shortfall(self) -> str:
        """That the shortest series had fewer repetitions than wanted, in words, or ""."""
        fewest = min(self.done, default=self.wanted)
        if fewest == self.wanted:
            return ""
        return f"only {fewest} of {self.wanted} repetitions, because the time was used up"
