"""When a background thread counts as being in trouble."""

from __future__ import annotations

from core.runtime.watchdog import FAILING_SECONDS, STUCK_SECONDS, Watchdog


class _Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failures_are_trouble_when_nothing_has_worked_for_a_while() -> None:
    """A failure becomes trouble after FAILING_SECONDS, and the next success ends the trouble."""
    clock = _Clock()
    watchdog = Watchdog(clock)
    assert watchdog.trouble() is None
    watchdog.failed("Redis is full")
    assert watchdog.trouble() is None
    clock.now += FAILING_SECONDS
    watchdog.failed("Redis is still full")
    assert watchdog.trouble() == "Redis is still full"
    watchdog.worked()
    assert watchdog.trouble() is None


def test_an_error_without_a_text_is_told_by_its_name() -> None:
    """A TimeoutError, for example, often has no text."""
    clock = _Clock()
    watchdog = Watchdog(clock)
    clock.now += FAILING_SECONDS
    watchdog.failed(TimeoutError())
    assert watchdog.trouble() == "TimeoutError"


def test_a_step_that_does_not_end_is_trouble() -> None:
    """A step is reported after STUCK_SECONDS without a call of alive()."""
    clock = _Clock()
    watchdog = Watchdog(clock)
    clock.now += STUCK_SECONDS - 1
    assert watchdog.trouble() is None
    watchdog.alive()
    clock.now += STUCK_SECONDS - 1
    assert watchdog.trouble() is None
    clock.now += 1
    assert watchdog.trouble() == "a step has been under way for 30 s"


def test_signs_of_life_do_not_hide_that_a_step_keeps_failing() -> None:
    """A retry may call alive() for a while before it fails again."""
    clock = _Clock()
    watchdog = Watchdog(clock)
    watchdog.failed("refused")
    clock.now += FAILING_SECONDS
    watchdog.alive()
    assert watchdog.trouble() == "refused"


def test_a_thread_that_fails_is_not_stuck() -> None:
    """A restart would not help it; one that gives no sign of life needs one."""
    clock = _Clock()
    watchdog = Watchdog(clock)
    for _ in range(10):
        clock.now += STUCK_SECONDS - 1
        watchdog.failed("refused")
    assert watchdog.trouble() == "refused"
    assert watchdog.stuck() is None
    clock.now += STUCK_SECONDS
    assert watchdog.stuck(STUCK_SECONDS + 1) is None
    assert watchdog.stuck() == "a step has been under way for 30 s"
