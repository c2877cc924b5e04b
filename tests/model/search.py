"""Many runs: with all rules, and with all but one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from model.focus import FOCUSES
from model.history import Result, play
from model.rules import ALL_RULES, without


@dataclass
class Totals:
    """The sums of the results of several runs."""

    histories: int = 0
    steps: int = 0
    figures: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Add the result of a run."""
        self.histories += 1
        self.steps += result.steps
        self.figures.update(result.figures)

    def lines(self) -> Iterator[str]:
        """Yield one line for each total."""
        yield f"{self.histories:>12,}  histories"
        yield f"{self.steps:>12,}  steps"
        for name, count in sorted(self.figures.items(), key=lambda item: item[0]):
            yield f"{count:>12,}  {name}"


def histories(first: int) -> Iterator[tuple[int, str]]:
    """Yield (seed, focus) for ever, from the first seed on; every second focus is "all"."""
    names = [name for name in FOCUSES if name != "all"]
    seed = first
    while True:
        yield seed, "all" if seed % 2 else names[seed // 2 % len(names)]
        seed += 1


def failed_without(rule: str, focus: str, count: int, enough: int = 8) -> tuple[list[Result], int]:
    """Return the runs that failed without the rule, and how many were played.

    Plays the seeds from 0 on. A run that fails with all rules too raises AssertionError, because it
    says nothing about the rule.
    """
    failed: list[Result] = []
    for seed in range(count):
        result = play(seed, without(rule), focus)
        if result.violation is None:
            continue
        if (whole := play(seed, ALL_RULES, focus)).violation is not None:
            raise AssertionError(f"seed {seed}, {focus}: {whole.violation}")
        failed.append(result)
        if len(failed) == enough:
            return failed, seed + 1
    return failed, count
