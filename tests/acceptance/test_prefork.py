"""Prefork: several read processes on one port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.waiting import wait_until

from embedded.ports import free_ports
from ops.system import System


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with two read processes."""
    with Fanfare(start_system(FANFARE_READ_PROCESSES="2")) as clients:
        yield clients


def _children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {
        int(child)
        for child in listed.split()
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    }


def test_all_processes_serve(own: Fanfare) -> None:
    """Connections are spread over the processes, and each of them answers with exact timelines."""
    read = own.system.processes["read"]
    processes = _children(read.pid)
    assert len(processes) == 2
    author = own.user()
    reader = own.user(author)
    tweet = own.tweet(author)
    own.wait_exact(reader)
    served: set[int] = set()
    while len(served) < 2:
        before = {pid: _cpu(pid) for pid in processes}
        # Each channel gets its own connection; channels to the same target share one by default.
        options = [("grpc.use_local_subchannel_pool", 1)]
        target = own.settings.read_service_target()
        with grpc.insecure_channel(target, options=options) as channel:
            for _ in range(200):
                page = ReadServiceStub(channel).GetHomeTimeline(
                    r.GetHomeTimelineRequest(user_id=reader.id)
                )
                assert ids(page.tweets) == [tweet.id]
        served.add(max(processes, key=lambda pid: _cpu(pid) - before[pid]))


def test_all_copies_serve_rest(own: Fanfare) -> None:
    """Each process also listens on the REST port, and gives the same answers as over gRPC."""
    log = own.system.processes["read"].log_path.read_text()
    assert log.count(f"serving REST port={own.settings.rest_read_port}\n") == 2
    author = own.user()
    reader = own.user(author)
    tweet = own.tweet(author)
    own.wait_exact(reader)
    for _ in range(20):  # each over another connection
        status, answer, _ = own.rest("GET", f"/timeline/{reader.id}")
        assert (status, [item["id"] for item in answer["tweets"]]) == (200, [str(tweet.id)])


def _cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("free", ["FANFARE_REST_READ_PORT", "FANFARE_READ_PORT"])
def test_a_taken_port_is_not_shared(own: Fanfare, free: str) -> None:
    """A second read service on the same gRPC or REST port fails to start, with one sentence."""
    environment = own.system._environment | {free: str(free_ports(1)[0])}
    done = subprocess.run(
        [sys.executable, "-m", "read_service"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_their_parent(own: Fanfare, number: signal.Signals) -> None:
    """Whether the parent is asked to stop or is killed, no process is left and the port is free."""
    read = own.system.processes["read"]
    processes = _children(read.pid)
    os.kill(read.pid, number)
    read.wait()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), "all have ended"
    )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", own.settings.read_port))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", own.settings.rest_read_port))
    read.start()


def test_all_end_when_one_dies(own: Fanfare) -> None:
    """When one process dies all end, so that a supervisor restarts the whole service."""
    read = own.system.processes["read"]
    os.kill(min(_children(read.pid)), signal.SIGKILL)
    assert read.wait() == 1
    read.start()
    assert own.read.ListUsers(r.ListUsersRequest(), wait_for_ready=True, timeout=30).users
