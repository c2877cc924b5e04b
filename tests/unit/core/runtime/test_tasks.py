"""Tasks that run beside the code that started them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from core.runtime import tasks


async def _lose_cancellations(count: int, begun: asyncio.Event) -> None:
    """Go on after this many cancellations, as a statement of psycopg may."""
    for _ in range(count):
        with suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.Event().wait()
    begun.set()
    await asyncio.Event().wait()


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_task_ends_even_if_its_cancellation_gets_lost(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """It is cancelled again until it ends."""
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)

    async def run() -> None:
        begun = asyncio.Event()
        async with asyncio.timeout(20), tasks.running(_lose_cancellations(lost, begun)):
            await begun.wait()

    asyncio.run(run())


def test_no_task_need_be_there() -> None:
    """Cancelling none returns at once."""
    asyncio.run(tasks.cancel())


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_tasks_that_run_together_end_even_if_their_cancellation_gets_lost(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """None of them goes on after the task that runs them."""
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)

    async def run() -> None:
        begun = [asyncio.Event(), asyncio.Event()]
        together = tasks.run_together(*(_lose_cancellations(lost, each) for each in begun))
        async with asyncio.timeout(20), tasks.running(together):
            for each in begun:
                await each.wait()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_a_task_that_fails_ends_those_that_run_together_with_it() -> None:
    """Its error is raised once they have ended."""

    async def fail(begun: asyncio.Event) -> None:
        await begun.wait()
        raise ValueError("failed")

    async def run() -> None:
        begun = asyncio.Event()
        async with asyncio.timeout(20):
            with pytest.raises(ValueError, match="failed"):
                await tasks.run_together(_lose_cancellations(0, begun), fail(begun))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_tasks_end_even_if_the_one_that_cancels_them_is_cancelled() -> None:
    """That one is cancelled in the end."""

    async def run() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(_lose_cancellations(2, begun))
        await begun.wait()
        cancelling = asyncio.create_task(tasks.cancel(task))
        await asyncio.sleep(0)
        cancelling.cancel()
        async with asyncio.timeout(20):
            with pytest.raises(asyncio.CancelledError):
                await cancelling
        assert task.cancelled()

    asyncio.run(run())
