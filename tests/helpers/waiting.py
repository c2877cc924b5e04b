"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_SECONDS = 60.0
# Pauses between the checks grow, so that a test does not take the CPU that it waits for.
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.08


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until a condition holds, and fail the test if it does not in time.

    Args:
        condition: Called again and again until its result is true.
        what: The condition in words, for the failure.
        seconds: The time limit; generous, since a busy machine is no failure.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
