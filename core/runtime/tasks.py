"""Work that goes on beside what started it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


def start(work: Coroutine[object, object, None], under_way: set[asyncio.Task[None]]) -> None:
    """Start the work; it is in the set until it ends, as asyncio itself would let go of it."""
    task = asyncio.create_task(work)
    under_way.add(task)
    task.add_done_callback(under_way.discard)
