"""The running systems that integration and acceptance tests use.

Most tests share one system, `fanfare`, and keep apart by making users of their own. A test that
kills a process, changes a setting or needs an empty database starts a system with `start_system`.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.fanfare import Fanfare
from helpers.leaks import MARKS
from hypothesis import HealthCheck, settings

from embedded import postgres as pg
from embedded.class_archive import make_class_archive
from embedded.jars import kafka_jars
from embedded.ports import free_ports
from embedded.stack import default_parts_dir
from ops.system import System

# No test may fail because the machine is busy: examples and the drawing of them have no limit.
# Examples may share a fixture: tests make users or keys of their own for each of them.
settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("unhurried")


class Systems:
    """Starts systems; what takes long and is always the same is done once, for the first of them.

    That is initdb, whose result is copied, and the search for the classes that Kafka loads.
    """

    def __init__(self, folder: Path, new_folder: Callable[[str], Path]) -> None:
        """Make what all systems begin with.

        Args:
            folder: Where to keep it.
            new_folder: Makes a folder for a system, of a name like the given one.
        """
        self._new_folder = new_folder
        make_class_archive(
            kafka_jars(default_parts_dir() / "kafka", lambda _: None, threading.Event())
        )
        self._postgres = folder / "postgres"
        pg.prepare_postgres(self._postgres, free_ports(1)[0], pg.load_password(self._postgres))

    def start(self, *, replica: bool = False, auth: bool = False, **environment: str) -> System:
        """Start a system, which the caller stops.

        Args:
            replica: Whether queries go to a streaming replica of Postgres.
            auth: Whether callers need access tokens, over TLS.
            environment: Environment variables of Fanfare's processes.
        """
        folder = self._new_folder("system")
        # With the owner: Postgres does not run as root.
        subprocess.run(["cp", "-a", self._postgres, folder / "postgres"], check=True)
        system = System(
            folder, default_parts_dir(), environment=environment, replica=replica, auth=auth
        )
        system.start()
        return system


def _logs_with_secrets(system: System) -> list[Path]:
    """Return the logs, and the files of Kafka, that contain a user's secret or e-mail address."""
    logs = list(system.settings.state_dir.rglob("*.log"))
    assert len(logs) > 1
    marks = [mark.encode() for mark in (*MARKS, "@example.com")]
    return [log for log in logs if any(mark in log.read_bytes() for mark in marks)]


@pytest.fixture(scope="session")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    """Return what starts systems; it is only made when the first of them is needed."""
    return Systems(tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def start_system(systems: Systems) -> Iterator[Callable[..., System]]:
    """Return a function that starts a system of the module's own, stopped after its last test.

    An idle system still takes some percent of a core, which would slow down all later modules.
    """
    started: list[System] = []

    def start(*, replica: bool = False, auth: bool = False, **environment: str) -> System:
        system = systems.start(replica=replica, auth=auth, **environment)
        started.append(system)
        return system

    yield start
    for system in started:
        system.stop()
    assert [log for system in started for log in _logs_with_secrets(system)] == []


@pytest.fixture(scope="session")
def fanfare(systems: Systems) -> Iterator[Fanfare]:
    """Return clients of the shared system, in which at the end no password is found anywhere."""
    system = systems.start()
    with Fanfare(system) as clients:
        yield clients
        found = clients.where(*MARKS)
    system.stop()
    assert found == set()
    assert _logs_with_secrets(system) == []
