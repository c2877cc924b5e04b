"""`fanfare status --watch` on a running system: in a terminal, in a pipe, and in trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from helpers.command_line import CommandLine
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from embedded.ports import free_ports
from ops.system import System

# Runs a command in a terminal of its own, whose keys are our stdin.
TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"
WATCH = ["fanfare", "status", "--watch"]
ENDED = "echo status=$?; stty -a | tr ' ' '\\n' | grep -x -e '-*icanon;*' -e '-*echo;*' | xargs"


class Watch:
    """A running `fanfare status --watch`, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def printed(self) -> str:
        """All that was printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def last(self) -> str:
        """The last whole line."""
        return self.printed.rpartition("\n")[0].rpartition("\n")[2]

    def wait_for(self, *texts: str) -> None:
        """Wait until these texts were printed since the call."""
        seen = len(self.printed)
        wait_until(
            lambda: all(text in self.printed[seen:] for text in texts), f"{texts}: {self.printed}"
        )

    def press(self, keys: bytes) -> None:
        """Press keys in its terminal."""
        keyboard: IO[bytes] | None = self.process.stdin
        assert keyboard is not None
        keyboard.write(keys)
        keyboard.flush()

    def end(self) -> None:
        """Interrupt it, and check that this ends it at once and without an error."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, self.printed
        assert "Traceback" not in self.printed


@contextmanager
def _watching(
    command: list[str], environment: dict[str, str], output: Path, **changed: str
) -> Iterator[Watch]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=environment | changed,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Watch(process, output)
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def environment(fanfare: Fanfare) -> dict[str, str]:
    """Return the environment of a command on the shared system."""
    return CommandLine(fanfare.settings).environment()


@pytest.mark.parametrize("keys", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
@pytest.mark.parametrize("columns", ["30", "120"])
def test_it_ends_by_a_key_and_leaves_the_terminal_as_it_was(
    environment: dict[str, str], tmp_path: Path, keys: bytes, columns: str
) -> None:
    """It has a screen of its own meanwhile, and no colours where they are not wanted."""
    shell = ["sh", "-c", f"trap : INT; {' '.join(WATCH)}; {ENDED}"]
    terminal = [sys.executable, "-c", TERMINAL, *shell]
    changed = {"COLUMNS": columns, "LINES": "40", "TERM": "xterm", "NO_COLOR": "1"}
    with _watching(terminal, environment, tmp_path / "output", **changed) as watch:
        watch.wait_for("process", "worker", "calls/s", "status", "all")
        watch.press(keys)
        watch.process.wait(30)
    shown = watch.printed
    assert "status=0" in shown
    assert "icanon" in shown.split("status=0")[1]
    assert "-icanon" not in shown
    assert "-echo" not in shown
    assert "Traceback" not in shown
    assert "Interrupted" not in shown
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    assert "\x1b[31m" not in shown
    assert ("memory" in shown) == (columns == "120")


def test_in_a_pipe_each_second_has_a_line(environment: dict[str, str], tmp_path: Path) -> None:
    """The lines have the rates of each process, and no escape sequences."""
    with _watching(WATCH, environment, tmp_path / "output") as watch:
        wait_until(lambda: watch.printed.count("status: all right") >= 2, watch.printed)
        watch.end()
    assert "\x1b" not in watch.printed
    for part in (" | write: ", " | read: ", " | worker: ", " calls/s, ", " | lag: 0 events |"):
        assert part in watch.last
    assert "DOWN" not in watch.last


def test_it_ends_with_its_reader(environment: dict[str, str]) -> None:
    """`| head -1` needs no Ctrl-C."""
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(WATCH)} | head -1; exit ${{PIPESTATUS[0]}}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_nothing_is_reachable(tmp_path: Path) -> None:
    """It says so, goes on, shows no password, and still ends at once."""
    (closed,) = free_ports(1)
    environment = dict(os.environ) | {
        "FANFARE_STATE_DIR": str(tmp_path),
        "FANFARE_POSTGRES_DSN": f"postgresql://fanfare:hunter2@127.0.0.1:{closed}/fanfare",
        "FANFARE_REDIS_URL": f"redis://:hunter2@127.0.0.1:{closed}/0",
        "FANFARE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{closed}",
        "FANFARE_METRICS_PORT": str(closed),
    }
    with _watching(WATCH, environment, tmp_path / "output") as watch:
        watch.wait_for("write: DOWN | read: DOWN | worker: DOWN", "Connection refused")
        watch.end()
    assert "hunter2" not in watch.printed


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose parts these tests stop."""
    with Fanfare(start_system()) as clients:
        yield clients


def test_a_process_is_seen_to_go_and_to_come_back(own: Fanfare, tmp_path: Path) -> None:
    """After its restart it has rates again, although its counters begin at zero."""
    environment = CommandLine(own.settings).environment()
    read = own.system.processes["read"]
    with _watching(WATCH, environment, tmp_path / "output") as watch:
        watch.wait_for("| read: ")
        read.kill()
        watch.wait_for("| read: DOWN |")
        read.start()
        # A process that was just started is asked again before it has rates.
        wait_until(lambda: "| read: DOWN" not in watch.last, "the read process is back")
        watch.end()
    assert "does not answer" not in watch.last


def test_servers_that_hang_keep_nobody_waiting(own: Fanfare, tmp_path: Path) -> None:
    """The lines go on, and Ctrl-C ends the command at once."""
    environment = CommandLine(own.settings).environment()
    stack = own.system.stack
    hanging = [server.pid for server in (stack.kafka, stack.valkey, own.system.processes["worker"])]
    with _watching(WATCH, environment, tmp_path / "output") as watch:
        watch.wait_for("| worker: ")
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        try:
            watch.wait_for("| worker: DOWN", "timed out")
            watch.end()
        finally:
            for pid in hanging:
                os.kill(pid, signal.SIGCONT)
    own.wait_drained()
