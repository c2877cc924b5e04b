"""All the rows, in the order in which they are run and shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import idle
from bench.figures import Figure
from bench.session import Bench


@dataclass(frozen=True)
class Row:
    """A piece of work that is measured."""

    name: str
    work: str
    """What is done, in words."""
    run: Callable[[Bench], list[Figure]]
    tool: str | None = None
    """The load generator that it needs, if any."""


ROWS = {row.name: row for row in (Row("idle", "nothing happens for a minute", idle.idle),)}
