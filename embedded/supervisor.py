"""The supervisor of `fanfare up`: restarts servers that die, and reports what it does.

It watches the servers of a system that already runs. The stack (stack.py) starts and stops them,
and a keeper (keeper.py) runs each one.
"""

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

# The time between two checks of a server. A death must be reported within two seconds.
POLL_SECONDS = 0.25
# A server is restarted at most MAX_RESTARTS times within the window. The pause before a restart
# doubles with each one.
MAX_RESTARTS = 10
WINDOW_SECONDS = 600.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
# Longer lines of a log are cut off in reports.
LINE_CHARACTERS = 300


class SupervisedServer(Protocol):
    """What the supervisor needs of a server: a ServerProcess, or a fake of one."""

    @property
    def name(self) -> str:
        """Its name, capitalised so that it can begin a sentence."""

    @property
    def log_path(self) -> Path:
        """Where its log is."""

    @property
    def running(self) -> bool:
        """Whether its process runs."""

    def restart_reason(self) -> str | None:
        """Return why it must be restarted although it runs; None if it need not be."""

    def log_lines(self) -> list[str]:
        """Return the last lines of the log of its present or last run."""

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            StackError, OSError: it could not be started.
        """

    def stop(self) -> None:
        """Stop it; another thread may be in start(), which then raises."""

    def wait(self) -> int:
        """Return its exit status, or 128 plus the number of the signal that ended it."""


class Supervisor:
    """Keeps servers running, each watched by a thread, until one cannot be kept running."""

    def __init__(self, servers: Sequence[SupervisedServer], report: Callable[[str], None]) -> None:
        """Prepare to supervise.

        Args:
            servers: the servers, all of which run.
            report: called, from any thread, with one or more lines about each death and restart.
        """
        self._servers = servers
        self._report = report
        self._stopping = threading.Event()

    def watch(self) -> None:
        """Watch the servers until stop() is called, or an exception such as Ctrl-C arrives.

        When it returns or raises, no server is being restarted: a server in the middle of a restart
        has been stopped.

        Raises:
            StackError: a server died again after its last restart.
        """
        with ThreadPoolExecutor(len(self._servers) + 1) as pool:
            ended = pool.submit(self._stopping.wait)
            tasks = {
                pool.submit(ServerWatcher(server, self._report, self._stopping).run): server
                for server in self._servers
            }
            either: list[Future[Any]] = [ended, *tasks]
            try:
                for task in wait(either, return_when=FIRST_COMPLETED).done:
                    task.result()
            finally:
                self._stopping.set()
                # A watcher that has not ended by now is starting its server and waiting until the
                # server is ready. Stopping the server makes start() raise.
                while starting := wait(tasks, 1.0).not_done:
                    for task in starting:
                        tasks[task].stop()

    def stop(self) -> None:
        """End watch() and leave the servers running."""
        self._stopping.set()


class ServerWatcher:
    """Watches one server and restarts it."""

    def __init__(
        self,
        server: SupervisedServer,
        report: Callable[[str], None],
        stopping: threading.Event,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to watch.

        Args:
            server: the server, which runs.
            report: called with one or more lines about each death and restart.
            stopping: ends the watch when it is set. Every pause is a wait() of it.
            now: a clock, in seconds.
        """
        self._server = server
        self._report = report
        self._stopping = stopping
        self._now = now
        self._restarts: deque[float] = deque()
        """The times of the restarts within the window."""

    def run(self) -> None:
        """Keep the server running until the watch is ended.

        Raises:
            StackError: it died again after its last restart.
        """
        while (trouble := self._wait_for_trouble()) is not None:
            while trouble is not None:
                pause = self._report_and_choose_pause(trouble)
                if self._stopping.wait(pause):
                    return
                trouble = self._restart()

    def _wait_for_trouble(self) -> str | None:
        """Wait until the server must be restarted; return why, or None if the watch has ended."""
        server = self._server
        while not self._stopping.wait(POLL_SECONDS):
            if not server.running:
                return f"{server.name} {_describe_status(server.wait())}.{self._describe_log()}"
            reason = server.restart_reason()
            if reason is not None:
                server.stop()
                return f"{server.name} was stopped: {reason}"
        return None

    def _report_and_choose_pause(self, trouble: str) -> float:
        """Report the trouble; return how long to wait before the restart, in seconds.

        Raises:
            StackError: the server may not be restarted again.
        """
        now = self._now()
        while self._restarts and self._restarts[0] <= now - WINDOW_SECONDS:
            self._restarts.popleft()
        before = len(self._restarts)
        minutes = f"{WINDOW_SECONDS / 60:.0f} minutes"
        if before == MAX_RESTARTS:
            self._report(trouble)
            raise StackError(
                f"{self._server.name} did not stay up after {MAX_RESTARTS} restarts within "
                f"{minutes}; see {self._server.log_path} for the reason"
            )
        self._restarts.append(now)
        pause = min(FIRST_PAUSE_SECONDS * 2.0**before, LONGEST_PAUSE_SECONDS)
        self._report(
            f"{trouble}\n{self._server.name} will be restarted in {pause:.0f} s "
            f"(restart {before + 1} of at most {MAX_RESTARTS} within {minutes})."
        )
        return pause

    def _restart(self) -> str | None:
        """Start the server; return why that failed, None if it runs or the watch has ended."""
        try:
            self._server.start()
        except (StackError, OSError) as error:
            if self._stopping.is_set():
                return None
            return f"{self._server.name} did not start: {error}"
        self._report(f"{self._server.name} runs again.")
        return None

    def _describe_log(self) -> str:
        lines = self._server.log_lines()
        if not lines:
            return f" It wrote nothing to {self._server.log_path}."
        return f" The end of {self._server.log_path}:" + "".join(
            f"\n    {line[:LINE_CHARACTERS]}" for line in lines
        )


def _describe_status(status: int) -> str:
    """Return how a process with this exit status ended."""
    try:
        return f"was ended by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"exited with status {status}"
