"""Tasks that run beside the code that started them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


def start(work: Coroutine[object, object, None], under_way: set[asyncio.Task[None]]) -> None:
    """Start a task, and keep it in the set until it ends.

    asyncio itself holds only a weak reference to a task, so without the set the task could be
    garbage-collected before it ends.
    """
    task = asyncio.create_task(work)
    under_way.add(task)
    task.add_done_callback(under_way.discard)


@asynccontextmanager
async def running(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run a task for as long as the context is open; then cancel it and wait for its end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
