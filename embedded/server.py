"""A server process that is started, waited for, stopped or killed, and never left behind.

Each process runs under a keeper (keeper.py), which ends it when this process is gone.
"""

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

from embedded.causes import cure_in_log
from embedded.errors import StackError
from embedded.ports import WantedPort

KEEPER = Path(__file__).with_name("keeper.py")
POLL_SECONDS = 0.02
# How many lines of a log are reported, and how much of its end is searched for them.
LOG_LINES = 5
LOG_BYTES = 64 * 1024
START_SECONDS = 60.0
# A server that was told to stop is killed after this time.
STOP_SECONDS = 30.0


def package_file(package: str, pattern: str) -> Path:
    """Return the file of an installed package that matches the pattern.

    The package is not imported, since its code is not needed.

    Raises:
        StackError: the package is not installed, or has no such file for this platform.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise StackError(
            f"the package {package} is not installed; run pip install 'fanfare[embedded]', or set "
            "the address of a server that runs elsewhere (see README)"
        )
    for folder in spec.submodule_search_locations or []:
        for path in Path(folder).glob(pattern):
            return path
    raise StackError(
        f"the package {package} has no server for this platform; set the address of one that runs "
        "elsewhere (see README)"
    )


def make_private_folder(path: Path) -> None:
    """Create a folder unless it exists, and let nobody else enter it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


class ServerProcess:
    """A process that serves, or that does its work and ends; it can be started repeatedly."""

    def __init__(  # noqa: PLR0913 - each is a plain fact about the process
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        is_ready: Callable[[], bool],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: tuple[int, int] | None = None,
        ports: Sequence[int] = (),
    ) -> None:
        """Prepare a process, without starting it.

        Args:
            name: its name in messages.
            command: the program and its arguments.
            log_path: where its output is appended.
            is_ready: returns whether this process, and not another one on its port, serves.
            folder: its working folder; None for that of this process.
            environment: its environment variables; None for PATH and LC_ALL only, so that it
                behaves the same for every user.
            stop_signal: what makes it stop in an orderly way.
            user: the user and group ids to run as; None for those of this process.
            ports: the ports that it listens on; they must be free when it is started.
        """
        self.name = name
        self.log_path = log_path
        self._is_ready = is_ready
        self._ports = ports
        plain = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        self._spec = {
            "command": list(command),
            "log": str(log_path.absolute()),
            "folder": str(folder) if folder else None,
            "environment": dict(plain if environment is None else environment),
            "stop_signal": int(stop_signal),
            "stop_seconds": STOP_SECONDS,
            "user": user,
            "needed_paths": [command[0], str(log_path.parent)],
        }
        self._keeper: subprocess.Popen[bytes] | None = None
        # Held while the keeper is started or told to stop, which different threads may do.
        self._changing = threading.Lock()
        # Where the log of the present run begins, in bytes.
        self._log_start = self._log_size()
        self.pid = 0

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            StackError: it ended, or was not ready within START_SECONDS; it does not run then.
        """
        self.launch()
        self.wait_ready()

    def run(self) -> None:
        """Start the process and wait until it has ended.

        Raises:
            StackError: it failed.
        """
        self.launch()
        if self.wait() != 0:
            raise StackError(f"{self.name} failed: {self._last_words()}")

    def launch(self) -> None:
        """Start the process without waiting until it is ready.

        First waits until all processes of an earlier run have ended, even those of another parent.

        Raises:
            StackError: it cannot be run, or one of its ports is taken.
        """
        self.stop()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock() as lock:
            for port in self._ports:
                WantedPort(port, self.name).check()
            self._log_start = self._log_size()
            with self._changing:
                answer = self._start_keeper(lock)
        if not answer.isdigit():
            self.wait()
            raise StackError(f"{self.name} could not be run: {answer or self._last_words()}")
        self.pid = int(answer)

    def wait_ready(self) -> None:
        """Wait until the process is ready.

        Raises:
            StackError: it ended, or was not ready within START_SECONDS; it does not run then.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            is_ready = self._is_ready()
            # Looked at afterwards: what answered may be another process on the port.
            if not self.running:
                raise StackError(f"{self.name} ended while starting: {self._last_words()}")
            if is_ready:
                return
            if time.monotonic() > deadline:
                self.stop()
                raise StackError(
                    f"{self.name} was not ready after {START_SECONDS:.0f} s: {self._last_words()}"
                )
            time.sleep(POLL_SECONDS)

    def terminate(self) -> None:
        """Send SIGTERM to the process, without waiting until it ends."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait until the process ends.

        Returns:
            Its exit status, or 128 plus the number of the signal that ended it.
        """
        assert self._keeper is not None  # noqa: S101 - it was started
        status = self._keeper.wait()
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # the keeper did not read the spec
                    pipe.close()
        return status

    def stop(self) -> None:
        """Stop the process with its stop signal, and wait until it is gone."""
        with self._changing:
            keeper = self._keeper
            if keeper is not None and keeper.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    keeper.stdin.close()
        if keeper is not None:
            self.wait()

    def kill(self) -> None:
        """Kill the process, as a crash would end it, and wait until it is gone."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def restart_reason(self) -> str | None:
        """Return why the process must be restarted although it runs; None if it need not be."""
        return None

    def log_lines(self) -> list[str]:
        """Return the last LOG_LINES lines that the present run wrote to the log.

        Frames of Java stack traces are left out, since they would displace the reason.
        """
        lines = [line for line in self._log_end() if not line.startswith("\tat ")]
        return lines[-LOG_LINES:]

    def _log_end(self) -> list[str]:
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_start, self._log_size() - LOG_BYTES))
                return log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return []

    def _start_keeper(self, lock: int) -> str:
        """Start the keeper, which inherits the lock; return its answer."""
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
            self._keeper.stdin.write(json.dumps(self._spec | {"lock": lock}).encode() + b"\n")
            self._keeper.stdin.flush()
        return self._keeper.stdout.readline().decode().strip()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        """Yield a lock that the process and its children inherit; the last of them releases it.

        After a crash, some processes go on for a while: Postgres' backends first finish their
        queries, and the servers of a killed parent shut down in an orderly way. Until they have
        ended, they use their data and ports.
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
                            f"{self.name} of an earlier run has not ended; end the process that "
                            f"has {path} open"
                        ) from error
                    time.sleep(POLL_SECONDS)
            yield file.fileno()

    def _last_words(self) -> str:
        lines = self.log_lines()
        # Fanfare's own processes end with one sentence that has the cause and the cure.
        if lines and lines[-1].startswith("fanfare: "):
            lines = lines[-1:]
        text = " / ".join(lines) or "it wrote nothing"
        cure = cure_in_log(lines)
        return f"{text} (the whole log is {self.log_path}){f'; {cure}' if cure else ''}"

    def _log_size(self) -> int:
        try:
            return self.log_path.stat().st_size
        except OSError:
            return 0
