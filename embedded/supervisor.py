"""Watches the servers of a running system: tells which one died, and starts it again."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from embedded.errors import StackError

# How soon a death is noticed; a report must be out within two seconds.
POLL_SECONDS = 0.25
# One server is started again at most so many times within the window, after pauses that double.
MAX_RESTARTS = 10
WINDOW_SECONDS = 600.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
# So much of a line of a log is told.
LINE_CHARACTERS = 300


class Watched(Protocol):
    """What is watched: a Server, or a fake of one."""

    @property
    def name(self) -> str:
        """Its name, as it begins a sentence."""

    @property
    def log_path(self) -> Path:
        """Where its log is."""

    @property
    def running(self) -> bool:
        """Whether its process is there."""

    def ailment(self) -> str | None:
        """Return why it must be started again although it runs, None if it need not."""

    def log_lines(self) -> list[str]:
        """Return the last lines of its log, of its present or last run."""

    def start(self) -> None:
        """Start it and wait until it is ready; raises StackError or OSError if that fails."""

    def stop(self) -> None:
        """Stop it, also from another thread than the one that is starting it."""

    def wait(self) -> int:
        """Return its exit status, or 128 and the number of the signal that ended it."""


class Supervisor:
    """Watches servers, each in a thread of its own, until one of them cannot be kept running."""

    def __init__(self, servers: Sequence[Watched], report: Callable[[str], None]) -> None:
        """Prepare to watch.

        Args:
            servers: what to watch; all of them run.
            report: called with one or more lines about each death and each restart, in any thread.
        """
        self._servers = servers
        self._report = report
        self._stopping = threading.Event()

    def watch(self) -> None:
        """Watch until stop() is called in another thread, or an exception ends the wait.

        Afterwards no server is started any more; one that was just being started is stopped.

        Raises:
            StackError: a server died again after the last restart that it may have.
        """
        with ThreadPoolExecutor(len(self._servers) + 1) as pool:
            ended = pool.submit(self._stopping.wait)
            tasks = {
                pool.submit(Watch(server, self._report, self._stopping).run): server
                for server in self._servers
            }
            either: list[Future[Any]] = [ended, *tasks]
            try:
                for task in wait(either, return_when=FIRST_COMPLETED).done:
                    task.result()
            finally:
                self._stopping.set()
                # What is left then is starting a server, and waits until it is ready.
                while starting := wait(tasks, 1.0).not_done:
                    for watch in starting:
                        tasks[watch].stop()

    def stop(self) -> None:
        """End the watch, and leave the servers running."""
        self._stopping.set()


class Watch:
    """Watches one server."""

    def __init__(
        self,
        server: Watched,
        report: Callable[[str], None],
        stopping: threading.Event,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to watch.

        Args:
            server: what to watch; it runs.
            report: called with one or more lines about each death and each restart.
            stopping: ends the watch when it is set; its wait() is every pause there is.
            now: a clock, in seconds.
        """
        self._server = server
        self._report = report
        self._stopping = stopping
        self._now = now
        self._restarts: deque[float] = deque()

    def run(self) -> None:
        """Keep the server running until the watch is ended.

        Raises:
            StackError: it died again after the last restart that it may have.
        """
        while (trouble := self._trouble()) is not None:
            while trouble is not None:
                pause = self._pause(trouble)
                if self._stopping.wait(pause):
                    return
                trouble = self._start()

    def _trouble(self) -> str | None:
        """Wait until the server must be started again; return why, None if the watch has ended."""
        server = self._server
        while not self._stopping.wait(POLL_SECONDS):
            if not server.running:
                return f"{server.name} {_ending(server.wait())}.{self._log_end()}"
            ailment = server.ailment()
            if ailment is not None:
                server.stop()
                return f"{server.name} was stopped: {ailment}"
        return None

    def _pause(self, trouble: str) -> float:
        """Report the trouble; return how long to wait before the next start, in seconds."""
        now = self._now()
        while self._restarts and self._restarts[0] <= now - WINDOW_SECONDS:
            self._restarts.popleft()
        before = len(self._restarts)
        minutes = f"{WINDOW_SECONDS / 60:.0f} minutes"
        if before == MAX_RESTARTS:
            self._report(trouble)
            raise StackError(
                f"{self._server.name} did not stay up in {MAX_RESTARTS} restarts within {minutes}: "
                f"{self._server.log_path} says why."
            )
        self._restarts.append(now)
        pause = min(FIRST_PAUSE_SECONDS * 2.0**before, LONGEST_PAUSE_SECONDS)
        self._report(
            f"{trouble}\n{self._server.name} is started again in {pause:.0f} s "
            f"(restart {before + 1} of at most {MAX_RESTARTS} within {minutes})."
        )
        return pause

    def _start(self) -> str | None:
        """Start the server; return None when it runs or the watch has ended, else the trouble."""
        try:
            self._server.start()
        except (StackError, OSError) as error:
            return (
                None if self._stopping.is_set() else f"{self._server.name} did not start: {error}"
            )
        self._report(f"{self._server.name} runs again.")
        return None

    def _log_end(self) -> str:
        lines = self._server.log_lines()
        if not lines:
            return f" It wrote nothing to {self._server.log_path}."
        return f" The end of {self._server.log_path}:" + "".join(
            f"\n    {line[:LINE_CHARACTERS]}" for line in lines
        )


def _ending(status: int) -> str:
    """Return how a process ended that has this status."""
    try:
        return f"was ended by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"ended by itself with status {status}"
