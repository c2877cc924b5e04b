"""Tasks that run beside the code that started them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

CANCEL_AGAIN_SECONDS = 1.0


def start(work: Coroutine[object, object, None], under_way: set[asyncio.Task[None]]) -> None:
    """Start a task, and keep it in the set until it ends.

    asyncio itself holds only a weak reference to a task, so without the set the task could be
    garbage-collected before it ends.
    """
    task = asyncio.create_task(work)
    under_way.add(task)
    task.add_done_callback(under_way.discard)


async def cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks, and return when all of them have ended.

    A cancellation can get lost: asyncio.wait_for() of Python 3.11, with which psycopg and its pool
    wait, forgets one that comes at the same moment as what it waits for. A task that goes on is
    therefore cancelled again after CANCEL_AGAIN_SECONDS.

    Raises:
        CancelledError: the caller was cancelled meanwhile. The tasks have ended nevertheless.
    """
    going_on = set(tasks)
    is_cancelled = False
    while going_on:
        for task in going_on:
            task.cancel()
        try:
            await asyncio.wait(going_on, timeout=CANCEL_AGAIN_SECONDS)
        except asyncio.CancelledError:
            is_cancelled = True
        going_on = {task for task in going_on if not task.done()}
    if is_cancelled:
        raise asyncio.CancelledError


async def run_together(*works: Coroutine[object, object, None]) -> None:
    """Run tasks until all have ended; cancel those that go on when one fails, or on cancellation.

    asyncio.TaskGroup would cancel each of them only once, and a cancellation can get lost.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await cancel(*tasks)
    for task in done:
        task.result()


@asynccontextmanager
async def running(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run a task for as long as the context is open; then cancel it and wait for its end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await cancel(task)
