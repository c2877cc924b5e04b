"""The time that a call over HTTP may take."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from core.errors import DeadlineExceededError
from gateway import deadlines
from gateway.deadlines import Deadlines, in_time

DEADLINE_SECONDS = 10.0


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "CALL_SECONDS", 0.02)


async def _forever() -> None:
    await asyncio.Event().wait()


async def _at_once() -> str:
    return "done"


async def test_late_calls_fail_and_others_do_not() -> None:
    """Each late call is cancelled, including those that begin after another was late."""
    calls = Deadlines()
    assert await calls.run(_at_once()) == "done"
    for _ in range(2):
        late = [asyncio.create_task(calls.run(_forever())) for _ in range(3)]
        assert await calls.run(_at_once()) == "done"
        async with asyncio.timeout(DEADLINE_SECONDS):
            results = await asyncio.gather(*late, return_exceptions=True)
        for result in results:
            assert isinstance(result, DeadlineExceededError)


async def test_a_late_call_that_is_slow_to_end_is_cancelled_once() -> None:
    """A call may have something to finish when it is cancelled."""
    cancelled = 0

    async def stubborn() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            await asyncio.sleep(3 * deadlines.CALL_SECONDS)
            raise

    calls = Deadlines()
    slow = asyncio.create_task(calls.run(stubborn()))
    with pytest.raises(DeadlineExceededError):
        await calls.run(_forever())
    with pytest.raises(DeadlineExceededError):
        await slow
    assert cancelled == 1


async def test_a_late_call_that_is_answered_nevertheless_leaves_nothing_to_the_next() -> None:
    """A cancellation may get lost in a library. The task of a connection has many calls."""

    async def unmoved() -> str:
        with suppress(asyncio.CancelledError):
            await _forever()
        return "done"

    calls = Deadlines()
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await calls.run(unmoved()) == "done"
        with pytest.raises(DeadlineExceededError):
            await calls.run(_forever())


async def test_a_call_that_is_cancelled_otherwise_stays_cancelled() -> None:
    """The client has left, in time or just when the call was late."""
    calls = Deadlines()
    task = asyncio.create_task(calls.run(_forever()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def leave_when_late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            task.cancel()

    task = asyncio.create_task(calls.run(leave_when_late()))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failure_is_passed_on_unchanged() -> None:
    """A call may fail before it is late."""

    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await Deadlines().run(fail())


async def test_a_client_may_wait_for_less() -> None:
    """Its call is cancelled when it no longer waits, also if that has been so from the start."""
    now = asyncio.get_running_loop().time()
    assert await in_time(None, _at_once()) == "done"
    assert await in_time(now + DEADLINE_SECONDS, _at_once()) == "done"
    for late_at in (now - 1, now, now + 0.01):
        with pytest.raises(DeadlineExceededError):
            await in_time(late_at, _forever())


async def test_both_times_may_end_at_once() -> None:
    """The task can go on afterwards: no cancellation is left."""
    calls = Deadlines()
    loop = asyncio.get_running_loop()
    for offset in (-0.001, 0.0, 0.001):
        late_at = loop.time() + deadlines.CALL_SECONDS + offset
        with pytest.raises(DeadlineExceededError):
            await calls.run(in_time(late_at, _forever()))
        await asyncio.sleep(0.005)


async def test_a_client_that_waits_for_less_may_leave() -> None:
    """Then the task stays cancelled."""
    late_at = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    task = asyncio.create_task(in_time(late_at, _forever()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
