"""The id below which the outbox has no unsent event, so that the relay need not look there.

A marked event leaves a dead entry in the index of unsent events. While anybody holds a snapshot
that is older than the mark, Postgres must keep the entry, and a fetch from the beginning of the
index reads it again each time.

The last id that was sent cannot be the low-water mark. Ids are drawn before their transactions
commit, so an unsent event with a lower id may become visible later. But a transaction that inserts
an event holds a lock on the table from before it draws the id until its commit is visible. So when
all transactions that held such a lock after an id was drawn have ended, every event up to that id
is visible, or will never be.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True)
class _Candidate:
    """An id up to which every event is visible once some transactions have ended."""

    id: int
    open: AbstractSet[str]
    """Those of the transactions that have not ended."""


class LowWaterMark:
    """The low-water mark of one epoch; `fanfare replay`, which unmarks events, ends the epoch."""

    def __init__(self) -> None:
        """Start at the first event."""
        self.id = 1
        """No event with an id below this one is unsent, or will be."""
        self._candidate: _Candidate | None = None
        self._visible_up_to = 0

    def note_transactions(self, last_id: int, open_transactions: AbstractSet[str]) -> None:
        """Note which transactions may have events that are not visible yet.

        Args:
            last_id: an id of the sequence; none of the ids up to it will be drawn any more.
            open_transactions: the transactions that insert events, read after last_id.
        """
        if self._candidate is not None:
            still_open = self._candidate.open & open_transactions
            if still_open:
                self._candidate = _Candidate(self._candidate.id, still_open)
                return
            self._visible_up_to = self._candidate.id
        self._candidate = _Candidate(last_id, open_transactions)

    def note_unsent(self, lowest_id: int | None) -> None:
        """Raise the mark.

        Args:
            lowest_id: that of the unsent events from the mark on, read in a statement that began
                after the last note_transactions(); None if there are none.
        """
        lowest = math.inf if lowest_id is None else lowest_id
        self.id = max(self.id, int(min(lowest, self._visible_up_to + 1)))
