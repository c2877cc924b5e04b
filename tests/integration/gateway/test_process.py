"""The REST ports of the services' processes, as an operator sees them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request

import psycopg
import pytest
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from core.rpc.health_probe import health_serves
from embedded.ports import free_ports

SERVICES = ["write", "read"]


def _run(service: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a service that must fail to start."""
    return subprocess.run(
        [sys.executable, "-m", f"{service}_service"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_a_drain_lets_requests_finish(fanfare: Fanfare) -> None:
    """After SIGTERM the ports are free, requests under way are answered, and the exit is clean."""
    user = fanfare.user()
    grpc_port, rest_port = free_ports(2)
    service = fanfare.system._process(
        "draining-write",
        "write_service",
        lambda: health_serves(f"127.0.0.1:{rest_port}"),
        write_port=str(grpc_port),
        rest_write_port=str(rest_port),
    )
    statuses: list[int] = []

    def delete() -> None:
        url = f"http://127.0.0.1:{rest_port}/users/{user.id}"
        request = urllib.request.Request(url, method="DELETE")
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            statuses.append(response.status)

    waiting = "SELECT 1 FROM pg_locks JOIN pg_class ON relation = oid"
    waiting += " WHERE relname = 'users' AND NOT granted"
    service.start()
    with psycopg.connect(fanfare.settings.primary_dsn()) as connection:
        connection.execute("LOCK TABLE users IN SHARE MODE")
        caller = threading.Thread(target=delete)
        caller.start()
        wait_until(lambda: fanfare.sql(waiting), "the deletion waits for the lock")
        service.terminate()
        wait_until(lambda: _is_free(grpc_port) and _is_free(rest_port), "the ports are free")
    caller.join()
    assert statuses == [204]
    assert service.wait() == 0
    assert "Traceback" not in service.log_path.read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_a_taken_port_ends_the_process_with_one_sentence(fanfare: Fanfare, service: str) -> None:
    """The sentence names the port and the setting that changes it; there is no traceback."""
    environment = fanfare.system._environment | {
        f"FANFARE_{service.upper()}_PORT": str(free_ports(1)[0])
    }
    done = _run(service, environment)
    port = getattr(fanfare.settings, f"rest_{service}_port")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"fanfare: cannot listen on 127.0.0.1:{port}: ")
    holder = r"\S+ \(process \d+\) of another `fanfare up` listens on the port; stop it, or set"
    assert re.search(holder, last)
    assert f"FANFARE_REST_{service.upper()}_PORT" in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_an_address_that_others_reach_is_refused_at_start(service: str) -> None:
    """The process ends before it listens, with one sentence that names the setting to change."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FANFARE_")}
    done = _run(service, environment | {"FANFARE_BIND": "0.0.0.0", "PYTHONPATH": "gen"})
    assert done.returncode == 1
    assert done.stderr.startswith("fanfare: FANFARE_BIND lets other machines connect")
    assert "FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT=true" in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_the_log_says_that_authentication_is_off(fanfare: Fanfare, service: str) -> None:
    """A service that starts without authentication logs a warning with its address."""
    log = fanfare.system.processes[service].log_path.read_text()
    assert "WARNING core.runtime.process: authentication is off: anyone who can reach 127" in log


def test_port_0_turns_rest_off(fanfare: Fanfare) -> None:
    """The service then serves gRPC alone. For gRPC, port 0 means any free port instead."""
    service, _ = fanfare.system.another_write_service()
    try:
        log = service.log_path.read_text()
    finally:
        service.stop()
    assert "serving gRPC port=" in log
    assert "serving REST" not in log
