"""A server process: started, waited for, stopped, killed; never left behind."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from embedded.errors import StackError
from embedded.ports import check_port

KEEPER = Path(__file__).with_name("keeper.py")
POLL_SECONDS = 0.02
LOG_LINES = 5
# So much of a log's end is looked at.
LOG_BYTES = 64 * 1024
START_SECONDS = 60.0
# After so long a server that was told to stop is killed.
STOP_SECONDS = 30.0


def package_file(package: str, pattern: str) -> Path:
    """Return the file of an installed package; raises StackError if it has none for this platform.

    The package is not imported: that would run code which nobody here needs.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise StackError(
            f"the package {package} is not installed: pip install 'fanfare[embedded]', or set the "
            "address of a server that runs elsewhere, see README."
        )
    for folder in spec.submodule_search_locations or []:
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
        ports: Sequence[int] = (),
    ) -> None:
        """Prepare a server.

        ready: whether this very process answers. environment: None for hardly any, so that a
        server does the same for everybody. user: the user and group to become. ports: what it
        listens on; a launch is refused while somebody else has one of them.
        """
        self.name = name
        self.log_path = log_path
        self._ready = ready
        self._ports = ports
        plain = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        self._order = {
            "command": list(command),
            "log": str(log_path),
            "environment": dict(plain if environment is None else environment),
            "signal": int(stop_signal),
            "seconds": STOP_SECONDS,
            "user": user,
            "needed": [command[0], str(log_path.parent)],
        }
        self._keeper: subprocess.Popen[bytes] | None = None
        # Held while a keeper is started or told to stop, which different threads may do.
        self._changing = threading.Lock()
        # Where the log of the present run begins, in bytes.
        self._log_start = self._log_size()
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

    def run(self) -> None:
        """Start the process and wait until it has done its work; raises StackError if it fails."""
        self.launch()
        if self.wait() != 0:
            raise StackError(f"{self.name} failed: {self._last_words()}")

    def launch(self) -> None:
        """Start the process without waiting; raises StackError when it cannot be run.

        What is left of an earlier run, by this or by another parent, is waited for.
        """
        self.stop()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock() as lock:
            for port in self._ports:
                check_port(port, self.name)
            self._log_start = self._log_size()
            with self._changing:
                answer = self._start_keeper(lock)
        if not answer.isdigit():
            self.wait()
            raise StackError(f"{self.name} could not be run: {answer or self._last_words()}.")
        self.pid = int(answer)

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
        """Wait for the process to end.

        Returns:
            Its exit status, or 128 and the number of the signal that ended it.
        """
        assert self._keeper is not None  # noqa: S101 - it was started
        status = self._keeper.wait()
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # an order that nobody read
                    pipe.close()
        return status

    def stop(self) -> None:
        """Stop the process in its own way, and wait until it is gone."""
        with self._changing:
            keeper = self._keeper
            if keeper is not None and keeper.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    keeper.stdin.close()
        if keeper is not None:
            self.wait()

    def kill(self) -> None:
        """Kill the process as a crash would, and wait until it is gone."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def ailment(self) -> str | None:
        """Return why the process must be started again although it runs, None if it need not."""
        return None

    def log_lines(self) -> list[str]:
        """Return the last lines that the process wrote to its log since it was started.

        Without the frames of Java's stack traces, which would push the reason out of sight.
        """
        told = [line for line in self._log_end() if not line.startswith("\tat ")]
        return told[-LOG_LINES:]

    def _log_end(self) -> list[str]:
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_start, self._log_size() - LOG_BYTES))
                return log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return []

    def _start_keeper(self, lock: int) -> str:
        """Start the keeper, which holds the lock too; return its answer."""
        self._keeper = subprocess.Popen(  # noqa: S603 - our own keeper
            [sys.executable, "-I", "-S", str(KEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[lock],
        )
        assert self._keeper.stdin is not None  # noqa: S101 - they are pipes
        assert self._keeper.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self._keeper.stdin.write(json.dumps(self._order | {"lock": lock}).encode() + b"\n")
            self._keeper.stdin.flush()
        return self._keeper.stdout.readline().decode().strip()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        """Hold the lock that the server inherits and its last process gives back.

        A crash leaves processes for a while: Postgres' backends end their query first, and the
        servers of a killed parent shut down in order. Their data and ports are theirs till then.
        """
        path = self.log_path.with_suffix(".lock")
        deadline = time.monotonic() + STOP_SECONDS + START_SECONDS
        with path.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise StackError(
                            f"{self.name} of an earlier run has not ended yet: end the process "
                            f"that has {path} open."
                        ) from error
                    time.sleep(POLL_SECONDS)
            yield file.fileno()

    def _last_words(self) -> str:
        said = " / ".join(self.log_lines()) or "it said nothing"
        return f"{said} (all of it is in {self.log_path})"

    def _log_size(self) -> int:
        try:
            return self.log_path.stat().st_size
        except OSError:
            return 0
