"""Look-ups for gauges that take a query or a system call, made in the background.

One thread makes all look-ups of a process, one after another, each at its own interval. A server or
a disk that hangs delays the other look-ups, and nothing else: neither the work of the process, nor
its health, nor the answer to Prometheus. What has not been looked up for three intervals is not
known any more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

LOG = logging.getLogger(__name__)
# After this many intervals without success, the last result counts no longer.
KEPT_INTERVALS = 3
# How long stop() waits for the look-up that is under way.
STOP_SECONDS = 1.0

Result_co = TypeVar("Result_co", covariant=True)


class Sample(Generic[Result_co]):
    """The latest result of a look-up that is repeated."""

    def __init__(
        self,
        name: str,
        look_up: Callable[[], Result_co],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a result.

        Args:
            name: what is looked up, for the log.
            look_up: returns the result; it should have a time limit of its own.
            seconds: the interval between two look-ups.
            clock: returns seconds, as time.monotonic() does.
        """
        self.name = name
        self._look_up = look_up
        self._seconds = seconds
        self._clock = clock
        self._latest: tuple[Result_co, float] | None = None
        self.due_at = clock()
        """When the next look-up is due."""

    @property
    def latest(self) -> Result_co | None:
        """The latest result; None if there is none that is recent."""
        latest = self._latest
        if latest is None or self._clock() - latest[1] > KEPT_INTERVALS * self._seconds:
            return None
        return latest[0]

    def take(self) -> None:
        """Look up, and note the result; a failure keeps the result before it."""
        self.due_at = self._clock() + self._seconds
        try:
            self._latest = (self._look_up(), self._clock())
        except Exception as error:  # noqa: BLE001 - of any library; the gauge then says that nothing is known
            LOG.debug("cannot look up a metric: name=%s error=%s", self.name, error)


@contextmanager
def sampling(samples: Sequence[Sample[object]]) -> Iterator[None]:
    """Take samples in the background until the context ends."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            following = min(samples, key=lambda sample: sample.due_at)
            # Recomputed after each, so that a short interval is kept beside a long one.
            if not stopping.wait(max(0.0, following.due_at - time.monotonic())):
                following.take()

    # A daemon, because a look-up on a disk that hangs must not keep the process from ending.
    thread = threading.Thread(target=run, name="sampling", daemon=True)
    if samples:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        if samples:
            thread.join(STOP_SECONDS)
