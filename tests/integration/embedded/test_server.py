"""A process of the stack: how it is started, what it says and how it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from embedded.errors import StackError
from embedded.server import ServerProcess


def test_a_servers_environment_is_not_in_its_command_lines(tmp_path: Path) -> None:
    """Any user can read a command line, so the environment is passed through stdin."""
    server = ServerProcess(
        "sleep", ["/bin/sleep", "99"], tmp_path / "log", lambda: True, environment={"A": "hidden"}
    )
    server.start()
    try:
        assert server._keeper is not None
        for pid in (server.pid, server._keeper.pid):
            assert b"hidden" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert Path(f"/proc/{server.pid}/environ").read_bytes() == b"A=hidden\0"
    finally:
        server.stop()


def test_a_program_that_cannot_be_run_is_reported(tmp_path: Path) -> None:
    """A missing program raises a StackError with the reason, and nothing runs."""
    server = ServerProcess("It", [str(tmp_path / "none")], tmp_path / "log", lambda: True)
    with pytest.raises(StackError, match=r"It could not be run: .*No such file"):
        server.start()
    assert not server.running


def test_a_server_that_was_killed_has_the_status_of_a_shell(tmp_path: Path) -> None:
    """The status of a killed server is 128 plus the number of the signal."""
    server = ServerProcess("sleep", ["/bin/sleep", "99"], tmp_path / "log", lambda: True)
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait() == 128 + signal.SIGKILL


def test_log_lines_are_of_this_run_and_without_java_frames(tmp_path: Path) -> None:
    """Lines of an earlier run and frames of Java stack traces are left out."""
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    says = "printf 'no room\\n\\tat org.apache.kafka.X\\n'; exit 3"
    server = ServerProcess("It", ["/bin/sh", "-c", says], log, lambda: False)
    server.launch()
    assert (server.wait(), server.log_lines()) == (3, ["no room"])
