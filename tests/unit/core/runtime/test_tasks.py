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
