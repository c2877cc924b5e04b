"""Look-ups in the background."""

from __future__ import annotations

import threading

import pytest

from core.runtime import sampling as module
from core.runtime.sampling import Sample, sampling


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_result_counts_for_three_intervals() -> None:
    """After that it is not known any more, rather than old."""
    clock = _Clock()
    sample = Sample("a", lambda: 7, 10, clock)
    assert sample.latest is None
    assert sample.due_at == 100
    sample.take()
    assert sample.latest == 7
    assert sample.due_at == 110
    clock.now += 30
    assert sample.latest == 7
    clock.now += 1
    assert sample.latest is None


def test_a_failure_keeps_the_result_before_it() -> None:
    """A server that does not answer once is no reason to know nothing."""
    clock = _Clock()
    results = [7, 0, 8]

    def look_up() -> int:
        result = results.pop(0)
        if not result:
            raise TimeoutError
        return result

    sample = Sample("a", look_up, 10, clock)
    sample.take()
    sample.take()
    assert sample.latest == 7
    assert sample.due_at == 110
    sample.take()
    assert sample.latest == 8


def test_samples_are_taken_in_another_thread() -> None:
    """Each is taken at once, and then at its interval; the caller waits for none of them."""
    taken, again = threading.Event(), threading.Event()
    threads: set[str] = set()

    def look_up() -> int:
        threads.add(threading.current_thread().name)
        (again if taken.is_set() else taken).set()
        return 1

    sample = Sample("a", look_up, 0.01)
    with sampling([sample]):
        assert taken.wait(60)
        assert again.wait(60)
    assert threads == {"sampling"}


def test_a_look_up_that_hangs_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context ends although the disk does not answer; the gauge is not known."""
    monkeypatch.setattr(module, "STOP_SECONDS", 0.01)
    hanging, end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def hang() -> int:
        hanging.set()
        end.wait(60)
        has_ended.set()
        return 1

    sample = Sample("a", hang, 0.01)
    with sampling([sample]):
        assert hanging.wait(60)
        assert sample.latest is None
    assert not has_ended.is_set()
    end.set()
