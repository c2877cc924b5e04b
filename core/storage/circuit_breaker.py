"""A circuit breaker: stops calls to a server that keeps failing, so that callers fail fast."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after several failures in a row, and lets calls through again after a while.

    The caller asks `is_open` before each call, makes no call while it is True, and records how each
    call ended. Once open_seconds have passed, calls go through again: the first success closes the
    breaker, and the first failure opens it for another open_seconds.
    """

    def __init__(
        self,
        failure_threshold: int,
        open_seconds: float,
        on_open: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a closed breaker.

        Args:
            failure_threshold: how many calls in a row must fail to open the breaker.
            open_seconds: how long it stays open.
            on_open: called with the last error each time the breaker opens, to log and count it.
            clock: returns the time in seconds.
        """
        self._failure_threshold = failure_threshold
        self._open_seconds = open_seconds
        self._on_open = on_open
        self._clock = clock
        self._failures = 0
        self._open_until = clock()

    @property
    def is_open(self) -> bool:
        """Whether the server must not be called now."""
        return self._clock() < self._open_until

    @property
    def is_failing(self) -> bool:
        """Whether the last calls failed, so that the breaker is open or was until just now."""
        return self._failures >= self._failure_threshold

    def record_success(self) -> None:
        """Note that the server answered."""
        self._failures = 0

    def record_failure(self, error: Exception) -> None:
        """Note that a call failed; open the breaker if the threshold is reached."""
        if self.is_open:
            # The call was sent before the breaker opened, so its failure is no news.
            return
        self._failures += 1
        if self._failures >= self._failure_threshold:
            self._open_until = self._clock() + self._open_seconds
            self._on_open(error)
