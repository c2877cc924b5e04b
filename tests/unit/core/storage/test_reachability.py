"""When a server counts as not answering."""

from __future__ import annotations

from core.storage.reachability import FAILING_SECONDS, Reachability


class _Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_server_has_to_answer_once() -> None:
    """So a process with a wrong address never becomes ready."""
    reachability = Reachability(_Clock())
    assert reachability.trouble() == "has not answered yet"
    reachability.failed()
    assert reachability.trouble() == "has not answered yet"
    reachability.answered()
    assert reachability.trouble() is None


def test_failures_are_trouble_when_they_last() -> None:
    """Counted from the first of them, however long ago the last answer was."""
    clock = _Clock()
    reachability = Reachability(clock)
    reachability.answered()
    clock.now += 3600
    reachability.failed()
    assert reachability.trouble() is None
    clock.now += FAILING_SECONDS
    reachability.failed()
    assert reachability.trouble() == "has not answered for 5 s"
    reachability.answered()
    assert reachability.trouble() is None
