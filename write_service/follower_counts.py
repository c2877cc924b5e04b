"""Which authors need not be counted: those who cannot have come above the threshold meanwhile.

To count a hundred thousand followers takes ten milliseconds, and the answer is hardly ever of use.
Every follow draws a number from one sequence: an author who had n followers when it stood at s
has at most n + (now - s). While that is not above the threshold they have not crossed it. Follows
whose transactions were under way at the count are why it is not believed for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

BELIEVED_SECONDS = 10.0
MAX_AUTHORS = 100_000
# With any number of follows above any threshold, and still a bigint.
UNKNOWN = 1 << 62


class FollowerCounts:
    """What one process counted lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._margins: dict[int, tuple[int, float]] = {}

    def margins(self, user_ids: Sequence[int]) -> list[int]:
        """Return for each author the number that, with the follows drawn, bounds their followers.

        UNKNOWN for those who were not counted lately.
        """
        oldest = self._clock() - BELIEVED_SECONDS
        known = (self._margins.get(user_id, (UNKNOWN, oldest)) for user_id in user_ids)
        return [margin if counted >= oldest else UNKNOWN for margin, counted in known]

    def keep(self, counts: Mapping[int, int], drawn: int) -> None:
        """Keep numbers of followers; drawn: where the sequence stood before they were counted."""
        if len(self._margins) + len(counts) > MAX_AUTHORS:
            self._margins.clear()
        now = self._clock()
        self._margins.update((user, (count - drawn, now)) for user, count in counts.items())
