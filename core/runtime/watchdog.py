"""Whether a thread that works in the background gets anywhere, for its process's health."""

from __future__ import annotations

import time
from collections.abc import Callable

# Servers restart, and connections break: shorter trouble is not worth an alarm.
FAILING_SECONDS = 5.0
# Longer than any single call to a server may take.
STUCK_SECONDS = 30.0


class Watchdog:
    """Is told by a thread how its work goes, and asked by another one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, from any start."""
        self._clock = clock
        self._worked_at = self._seen_at = clock()
        self._error = ""

    def worked(self) -> None:
        """Note that a step succeeded."""
        self._worked_at = self._seen_at = self._clock()
        self._error = ""

    def alive(self) -> None:
        """Note that a long step gets on, although it has not succeeded yet."""
        self._seen_at = self._clock()

    def failed(self, error: object) -> None:
        """Note that a step failed, and why."""
        self._seen_at = self._clock()
        self._error = str(error) or type(error).__name__

    def trouble(self) -> str | None:
        """Return why the work stands still; None while it goes on, or failed only just now."""
        now = self._clock()
        # Read once: the other thread may clear it meanwhile.
        error = self._error
        if error and now - self._worked_at >= FAILING_SECONDS:
            return error
        if now - self._seen_at >= STUCK_SECONDS:
            return f"a step has been under way for {now - self._seen_at:.0f} s"
        return None
