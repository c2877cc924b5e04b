"""Histories of the database, and points in them.

A history is one unbroken line of commits of the Postgres primary. A restored copy, or a replica
that took over, continues an older state: it gives out LSNs, epochs and versions a second time, for
other commits. So these are compared only within one history. `migrations/0004_histories.sql` says
how a new one begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

Lsn = NewType("Lsn", int)
"""A position in the write-ahead log of the Postgres primary, in bytes."""


@dataclass(frozen=True)
class Moment:
    """A point in a history, not before the commits that it stands for."""

    history: str
    """Ten hexadecimal digits."""
    lsn: Lsn


class OtherHistoryError(Exception):
    """The database is not at the history that was asked for, or at none yet."""

    def __init__(self) -> None:
        super().__init__(
            "Postgres was restarted, restored or failed over; the write service begins a new "
            "history there, else run `fanfare recover`"
        )
