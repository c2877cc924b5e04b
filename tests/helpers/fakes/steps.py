"""How a fake lets other coroutines run between two atomic steps of a server."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def others_run() -> Generator[None, None, None]:
    """Yield to the driver, an event loop or `Running`, so that other coroutines run first."""
    yield


class Steps:
    """The atomic steps that a fake server has executed, in order.

    A test can let something happen right before a step.
    """

    def __init__(self) -> None:
        self.taken: list[str] = []
        self._before: dict[str, list[Callable[[], object]]] = {}

    def before(self, name: str, interfere: Callable[[], object]) -> None:
        """Call a function once, right before the next step with this name."""
        self._before.setdefault(name, []).append(interfere)

    async def take(self, name: str) -> None:
        """Wait for the turn of a step. The caller executes it when this returns."""
        await others_run()
        waiting = self._before.get(name)
        if waiting:
            waiting.pop(0)()
        self.taken.append(name)


class Running:
    """A coroutine that is driven step by step, without an event loop."""

    def __init__(self, coroutine: Awaitable[Any]) -> None:
        if not isinstance(coroutine, Coroutine):
            raise TypeError("only a coroutine can be driven")
        self._coroutine = coroutine
        self.is_done = False
        self.result: Any = None

    def step(self) -> None:
        """Run to the next step; re-raise what the coroutine raises."""
        if self.is_done:
            return
        try:
            self._coroutine.send(None)
        except StopIteration as stop:
            self.is_done, self.result = True, stop.value
        except BaseException:
            self.is_done = True
            raise

    def finish(self) -> Any:
        """Run to the end, and return the result."""
        while not self.is_done:
            self.step()
        return self.result

    def close(self) -> None:
        """Give the coroutine up, as if its process had died."""
        self._coroutine.close()
        self.is_done = True
