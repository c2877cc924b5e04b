"""Whether a server answers, as the calls show that are made anyway."""

from __future__ import annotations

import time
from collections.abc import Callable

# Failures that end sooner are no trouble, since servers restart and connections break.
FAILING_SECONDS = 5.0


class Reachability:
    """Records how calls to a server ended, and tells whether all of them fail."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with a server that has not answered; the clock returns seconds."""
        self._clock = clock
        self._has_answered = False
        self._failing_since: float | None = None

    def answered(self) -> None:
        """Record that a call succeeded."""
        self._has_answered = True
        self._failing_since = None

    def failed(self) -> None:
        """Record that a call failed because of the server or the way to it."""
        if self._failing_since is None:
            self._failing_since = self._clock()

    def trouble(self) -> str | None:
        """Return what is wrong, as the end of a sentence, or None if nothing is."""
        if not self._has_answered:
            return "has not answered yet"
        if self._failing_since is None:
            return None
        seconds = self._clock() - self._failing_since
        return f"has not answered for {seconds:.0f} s" if seconds >= FAILING_SECONDS else None
