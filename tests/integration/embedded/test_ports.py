"""Ports that are taken, by whatever they are taken."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from embedded import ports
from embedded.errors import StackError
from embedded.ports import HOST, WantedPort, free_ports, wait_for_ports

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def _connected(port: int) -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection whose client has the port as its own."""
    with socket.create_server((HOST, 0)) as listener:
        client = socket.create_connection(listener.getsockname(), source_address=(HOST, port))
        return client, listener.accept()[0]


def _wanted(port: int) -> WantedPort:
    return WantedPort(port, "It", HOST, "set FANFARE_X to another port")


def test_a_listener_is_named_with_its_process() -> None:
    """The operator learns what to stop."""
    expected = pytest.raises(StackError, match=rf"\(process {os.getpid()}\) listens on the port")
    with socket.create_server((HOST, 0)) as taken, expected:
        _wanted(taken.getsockname()[1]).check()


def test_a_server_of_another_system_is_told_from_other_listeners(tmp_path: Path) -> None:
    """Stopping the process alone would be in vain, because it would be restarted."""
    listen = (
        "import socket; taken = socket.create_server(('127.0.0.1', 0)); "
        "print(taken.getsockname()[1], flush=True); input()"
    )
    keeper = tmp_path / "embedded" / "keeper.py"
    keeper.parent.mkdir()
    keeper.write_text(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {listen!r}])")
    run = subprocess.Popen(
        [sys.executable, str(keeper)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with run:
        assert run.stdin is not None
        assert run.stdout is not None
        port = int(run.stdout.readline())
        with pytest.raises(StackError, match=r"\) of another `fanfare up` listens on"):
            _wanted(port).check()
        run.stdin.write("\n")


def test_a_connection_to_elsewhere_is_told_from_a_listener() -> None:
    """Nothing listens, so nothing can be stopped: another port or patience helps."""
    (port,) = free_ports(1)
    client, server = _connected(port)
    expected = pytest.raises(StackError, match=r"a connection of .* to elsewhere has the port")
    with closing(client), closing(server), expected:
        wait_for_ports([_wanted(port)], print)


def test_a_start_waits_for_the_port_of_an_ended_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux keeps it for a minute, in which the start says what it waits for."""
    (port,) = free_ports(1)
    client, server = _connected(port)
    client.close()  # the end that closes first keeps the port
    server.close()
    told: list[str] = []
    # A minute is too long for a test, which looks at what is said when the wait is in vain.
    monkeypatch.setattr(ports, "LINGER_SECONDS", 0.5)
    with pytest.raises(StackError, match=r"a connection that has ended still has the port"):
        wait_for_ports([_wanted(port)], told.append)
    assert told == [f"Waiting until an ended connection frees port {port} (at most a minute)"]


def test_a_low_port_is_told_from_a_taken_one() -> None:
    """A user who is not root learns which ports may be used."""
    code = (
        "import encodings.idna, os; from core.runtime.ports import bind_error, explain_bind_error\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "error = bind_error('127.0.0.1', 80)\n"
        "print(error and explain_bind_error('127.0.0.1', 80, error, 'set X to another port'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = "this user may not use ports below 1024; set X to another port"
    # Some systems let everybody use it.
    assert done.stdout in {f"cannot listen on 127.0.0.1:80: {told}\n", "None\n"}
