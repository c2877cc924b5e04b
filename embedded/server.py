"""A server process: started, waited for, stopped, killed; never left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KEEPER = Path(__file__).with_name("keeper.py")
POLL_SECONDS = 0.02
LOG_LINES = 5
START_SECONDS = 60.0
# After so long a server that was told to stop is killed.
STOP_SECONDS = 30.0


class StackError(Exception):
    """A server cannot be started; the text is one sentence with the cause and the cure."""


def package_file(package: str, pattern: str) -> Path:
    """Return the file of an installed package; raises StackError if it has none for this platform.

    The package is not imported: that would run code which nobody here needs.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).glob(pattern):
            return path
    raise StackError(
        f"the package {package} has no server for this platform: set the address of one that "
        "runs elsewhere, see README."
    )


class Server:
    """A process and how to know that it is ready."""

    def __init__(  # noqa: PLR0913 - each is a plain fact about the server
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        ready: Callable[[], bool],
        *,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._ready = ready
        self._order = json.dumps(
            {
                "command": list(command),
                "log": str(log_path),
                "environment": dict(environment if environment is not None else os.environ),
                "signal": int(stop_signal),
                "seconds": STOP_SECONDS,
                "user": user,
            }
        )
        self._keeper: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises StackError when it ends before, or is not ready in time; then it is not running.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process without waiting."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._keeper = subprocess.Popen(  # noqa: S603 - our own keeper
            [sys.executable, "-I", "-S", str(KEEPER), self._order],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None  # noqa: S101 - it is a pipe
        line = self._keeper.stdout.readline()
        if not line.strip():
            raise StackError(f"{self.name} could not be run: {self._last_words()}")
        self.pid = int(line)

    def wait_ready(self) -> None:
        """Wait until the process is ready; raises StackError as start() does."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if not self.running:
                raise StackError(f"{self.name} ended while starting: {self._last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise StackError(
                    f"{self.name} was not ready after {START_SECONDS:.0f} s: {self._last_words()}"
                )
            time.sleep(POLL_SECONDS)

    def terminate(self) -> None:
        """Ask the process to stop, without waiting."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the process to end; return its exit status, the signal's number if killed."""
        assert self._keeper is not None  # noqa: S101 - it was started
        status = self._keeper.wait()
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def stop(self) -> None:
        """Stop the process in its own way, and wait until it is gone."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self.wait()

    def kill(self) -> None:
        """Kill the process as a crash would, and wait until it is gone."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def _last_words(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        said = " / ".join(lines[-LOG_LINES:]) or "it said nothing"
        return f"{said} (all of it is in {self.log_path})"
