"""Histories of the database.

A history is a sequence of commits without a break. It ends when Postgres continues from an older
state: a restored backup, or a replica that took over before it had every commit. It also ends when
Postgres restarts, because a restart cannot be told from a restore.

In a new history, Postgres can reuse LSNs, relay epochs, event ids and tweet versions of commits
that were lost, so none of these may be compared across histories. `migrations/0004_histories.sql`
says how a new history begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

Lsn = NewType("Lsn", int)
"""A log sequence number: a position in the write-ahead log of the Postgres primary, in bytes."""


@dataclass(frozen=True)
class Moment:
    """A point in a history, at or after the commits that it stands for."""

    history: str
    """The id of the history: ten hexadecimal digits."""
    lsn: Lsn


class OtherHistoryError(Exception):
    """Postgres is in another history than the caller, or has not begun a new one yet."""

    def __init__(self) -> None:
        super().__init__(
            "Postgres was restarted, restored or failed over, and is not at the same history any "
            "more; start the write service, which begins a new one, or run `fanfare recover`"
        )
