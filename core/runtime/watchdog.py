"""Tells the health check of a process whether one of its background threads makes progress."""

from __future__ import annotations

import time
from collections.abc import Callable

# Failures that end sooner are not reported, since servers restart and connections break.
FAILING_SECONDS = 5.0
# Longer than any single call to a server may take.
STUCK_SECONDS = 30.0


class Watchdog:
    """Records the progress of one thread, and tells another thread whether there is trouble."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without trouble. The clock returns the seconds since any fixed point in time."""
        self._clock = clock
        self._worked_at = self._seen_at = clock()
        self._error = ""

    def worked(self) -> None:
        """Record that a step succeeded."""
        self._worked_at = self._seen_at = self._clock()
        self._error = ""

    def alive(self) -> None:
        """Record that a long step makes progress, although it has not succeeded yet."""
        self._seen_at = self._clock()

    def failed(self, error: object) -> None:
        """Record that a step failed, and why."""
        self._seen_at = self._clock()
        self._error = str(error) or type(error).__name__

    def trouble(self) -> str | None:
        """Return why there is no progress, or None if there is some or it stopped only recently."""
        now = self._clock()
        # Read once, since the other thread may clear it at any time.
        error = self._error
        if error and now - self._worked_at >= FAILING_SECONDS:
            return error
        return self.stuck()

    def stuck(self, seconds: float = STUCK_SECONDS) -> str | None:
        """Return that there was no sign of life for so long, or None if there was one.

        A thread that fails again and again gives signs of life. One that has ended gives none.
        """
        silent = self._clock() - self._seen_at
        return f"a step has been under way for {silent:.0f} s" if silent >= seconds else None
