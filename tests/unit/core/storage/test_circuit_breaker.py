"""The circuit breaker, with a clock that the test moves."""

from __future__ import annotations

from core.storage.circuit_breaker import CircuitBreaker

THRESHOLD = 3
OPEN_SECONDS = 10.0


class Breaker:
    """A circuit breaker with its clock and the errors that it reported."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.reported: list[str] = []
        self.breaker = CircuitBreaker(
            THRESHOLD, OPEN_SECONDS, lambda error: self.reported.append(str(error)), self.clock
        )

    def clock(self) -> float:
        """Return the test's time."""
        return self.now

    def fail(self, *errors: str) -> None:
        """Record a failure for each error."""
        for error in errors:
            self.breaker.record_failure(ConnectionError(error))


def test_it_is_closed_at_first() -> None:
    """A new breaker lets calls through, whatever its clock says."""
    assert not Breaker().breaker.is_open


def test_it_opens_after_enough_failures_in_a_row() -> None:
    """It opens at the threshold, and reports the error that opened it."""
    test = Breaker()
    test.fail("first", "second")
    assert not test.breaker.is_open
    assert test.reported == []
    test.fail("third")
    assert test.breaker.is_open
    assert test.reported == ["third"]


def test_a_success_between_failures_keeps_it_closed() -> None:
    """Only failures in a row count."""
    test = Breaker()
    for _ in range(5):
        test.fail("first", "second")
        test.breaker.record_success()
    assert not test.breaker.is_open


def test_it_lets_calls_through_when_the_time_is_over() -> None:
    """It stays open for open_seconds, and no longer."""
    test = Breaker()
    test.fail("first", "second", "third")
    test.now += OPEN_SECONDS - 0.1
    assert test.breaker.is_open
    test.now += 0.1
    assert not test.breaker.is_open


def test_one_failure_opens_it_again() -> None:
    """After the pause, a single failure opens it, without a count up to the threshold."""
    test = Breaker()
    test.fail("first", "second", "third")
    test.now += OPEN_SECONDS
    test.fail("still away")
    assert test.breaker.is_open
    assert test.reported == ["third", "still away"]


def test_one_success_closes_it_again() -> None:
    """After a success, it opens only when the threshold is reached again."""
    test = Breaker()
    test.fail("first", "second", "third")
    test.now += OPEN_SECONDS
    test.breaker.record_success()
    test.fail("first", "second")
    assert not test.breaker.is_open
    test.fail("third")
    assert test.breaker.is_open


def test_late_failures_change_nothing() -> None:
    """Calls that were under way when it opened neither report again nor keep it open longer."""
    test = Breaker()
    test.fail("first", "second", "third")
    test.now += OPEN_SECONDS / 2
    test.fail("late", "later")
    assert test.reported == ["third"]
    test.now += OPEN_SECONDS / 2
    assert not test.breaker.is_open


def test_it_is_failing_until_a_call_succeeds() -> None:
    """Not only while it is open: nobody may call for a while after that."""
    test = Breaker()
    test.fail("first", "second")
    assert not test.breaker.is_failing
    test.fail("third")
    test.now += OPEN_SECONDS
    assert not test.breaker.is_open
    assert test.breaker.is_failing
    test.breaker.record_success()
    assert not test.breaker.is_failing
