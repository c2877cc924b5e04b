"""A cache of follower counts, so that most tweets need no count of their author's followers.

A tweet is pushed or pulled depending on whether its author has more followers than a threshold.
Counting a hundred thousand followers takes ten milliseconds, and the result rarely matters. But
there is a cheap upper bound: every follow draws a number from one sequence, so an author who had n
followers when the sequence was at s has at most n + (t - s) followers when it is at t. As long as
that does not exceed the threshold, there is no need to count.

A follow whose transaction was in progress during the count may have drawn its number before s. The
bound misses it until the next count, so no count is used for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

MAX_AGE_SECONDS = 10.0
MAX_AUTHORS = 100_000
# Above every threshold, even when a sequence number is added to it, and still a bigint.
UNKNOWN = 1 << 62


class FollowerCounts:
    """Turns recent follower counts into upper bounds of the current ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; clock: seconds from any start."""
        self._clock = clock
        self._bounds: dict[int, tuple[int, float]] = {}

    def bounds(self, user_ids: Sequence[int]) -> list[int]:
        """Return an upper bound of each user's follower count, minus the current sequence number.

        The caller adds the current number of the sequence of follows. A user whose followers have
        not been counted recently gets UNKNOWN.
        """
        oldest = self._clock() - MAX_AGE_SECONDS
        known = (self._bounds.get(user_id, (UNKNOWN, oldest)) for user_id in user_ids)
        return [bound if counted_at >= oldest else UNKNOWN for bound, counted_at in known]

    def remember(self, counts: Mapping[int, int], follows_drawn: int) -> None:
        """Remember follower counts.

        Args:
            counts: by user id.
            follows_drawn: a number that the sequence of follows had reached when the count began.
        """
        if len(self._bounds) + len(counts) > MAX_AUTHORS:
            self._bounds.clear()
        now = self._clock()
        self._bounds.update((user, (count - follows_drawn, now)) for user, count in counts.items())
