"""The running system that integration and acceptance tests share.

One stack and one set of processes for the whole run; tests keep apart by making users of their own.
A test that kills, or that needs an empty database, starts a system of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.fanfare import Fanfare
from helpers.leaks import MARKS

from embedded.stack import default_parts_dir
from ops.system import System


@pytest.fixture(scope="session")
def start_system(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., System]]:
    """Return a function that starts a system of the test's own, stopped at the end of the run.

    Then no log of any of them, the servers' and the events in Kafka's too, may hold a password, an
    access token or an address of a user, which all end in @example.com.
    """
    started: list[System] = []

    def start(*, replica: bool = False, auth: bool = False, **environment: str) -> System:
        folder: Path = tmp_path_factory.mktemp("system")
        system = System(
            folder, default_parts_dir(), environment=environment, replica=replica, auth=auth
        )
        started.append(system)
        system.start()
        return system

    yield start
    for system in started:
        system.stop()
    logs = [log for system in started for log in system.settings.state_dir.rglob("*.log")]
    assert not started or len(logs) > len(started)
    marks = [mark.encode() for mark in (*MARKS, "@example.com")]
    told = [log for log in logs if any(mark in log.read_bytes() for mark in marks)]
    assert told == []


@pytest.fixture(scope="session")
def fanfare(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of the shared system, in which at the end no password is found anywhere."""
    with Fanfare(start_system()) as clients:
        yield clients
        assert clients.where(*MARKS) == set()
