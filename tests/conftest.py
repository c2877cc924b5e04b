"""The running systems that integration and acceptance tests use.

Most tests share one system, `fanfare`, and keep apart by making users of their own. A test that
kills a process, changes a setting or needs an empty database starts a system with `start_system`.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.fanfare import Fanfare
from helpers.leaks import MARKS
from hypothesis import HealthCheck, settings

from core.settings import GrpcServerKind
from embedded import postgres as pg
from embedded.class_archive import make_class_archive
from embedded.jars import kafka_jars
from embedded.kafka import cluster_id, prepare_kafka
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
# A shell starts what runs in the background with SIGINT ignored, and commands would inherit that:
# some tests interrupt commands.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Systems:
    """Starts and stops systems in less time than it takes to do so one by one.

    What is the same for all is done once, for the first: initdb and the formatting of Kafka's
    folder, whose results are copied, and the archive of the classes that Kafka loads. Systems stop
    while the next test begins.
    """

    def __init__(self, folder: Path, new_folder: Callable[[str], Path]) -> None:
        """Make what all systems begin with.

        Args:
            folder: Where to keep it.
            new_folder: Makes a folder for a system, of a name like the given one.
        """
        self._new_folder = new_folder
        jars = kafka_jars(default_parts_dir() / "kafka", lambda _: None, threading.Event())
        make_class_archive(jars)
        self._postgres = folder / "postgres"
        pg.prepare_postgres(self._postgres, free_ports(1)[0], pg.load_password(self._postgres))
        self._kafka = folder / "kafka"
        port, controller_port = free_ports(2)
        prepare_kafka(self._kafka, port, controller_port, jars)
        self._stopping = ThreadPoolExecutor(2)
        self._stops: list[Future[list[Path]]] = []

    def start(self, **how: Any) -> System:
        """Start a system, which the caller stops; the arguments are those of prepare()."""
        system = self.prepare(**how)
        system.start()
        return system

    def prepare(
        self,
        *,
        replica: bool = False,
        auth: bool = False,
        prometheus_rules: Path | None = None,
        **environment: str,
    ) -> System:
        """Return a system that has not been started.

        Args:
            replica: Whether queries go to a streaming replica of Postgres.
            auth: Whether callers need access tokens, over TLS.
            prometheus_rules: The folder of the rules of a Prometheus; None for none.
            environment: Environment variables of Fanfare's processes.
        """
        folder = self._new_folder("system")
        # With the owner: Postgres does not run as root.
        subprocess.run(["cp", "-a", self._postgres, folder / "postgres"], check=True)
        _copy_formatted(self._kafka, folder / "kafka")
        with pytest.MonkeyPatch.context() as patch:
            if auth:
                patch.delenv("FANFARE_GRPC_SERVER", raising=False)  # native has no TLS
            return System(
                folder,
                default_parts_dir(),
                environment=environment,
                replica=replica,
                auth=auth,
                prometheus_rules=prometheus_rules,
            )

    def stop(self, system: System) -> None:
        """Stop a system in the background, and then search its logs for secrets."""
        self._stops.append(self._stopping.submit(_stop, system))

    def finish(self) -> list[Path]:
        """Wait until all systems have stopped; return the logs in which secrets were found."""
        self._stopping.shutdown()
        return [log for stop in self._stops for log in stop.result()]


def _copy_formatted(kafka: Path, folder: Path) -> None:
    """Copy the data folder of a broker that has never run, and give the copy its own cluster id."""
    shutil.copytree(kafka / "data", folder / "data")
    properties = folder / "data" / "meta.properties"
    lines = properties.read_text().splitlines()
    formatted = [line for line in lines if not line.startswith("cluster.id=")]
    assert len(formatted) == len(lines) - 1
    properties.write_text("\n".join([*formatted, f"cluster.id={cluster_id()}", ""]))


def _stop(system: System) -> list[Path]:
    system.stop()
    return _logs_with_secrets(system)


def _logs_with_secrets(system: System) -> list[Path]:
    """Return the logs, and the files of Kafka, that contain a user's secret or e-mail address."""
    logs = list(system.settings.state_dir.rglob("*.log"))
    assert len(logs) > 1
    marks = [mark.encode() for mark in (*MARKS, "@example.com")]
    return [log for log in logs if any(mark in log.read_bytes() for mark in marks)]


@pytest.fixture(scope="session")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    """Return what starts systems. At the end of the run no log may contain a secret."""
    systems = Systems(tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp)
    yield systems
    assert systems.finish() == []


@pytest.fixture(scope="module")
def prepare_system(systems: Systems) -> Iterator[Callable[..., System]]:
    """Return a function that returns a system of the module's own, which has not been started.

    It is stopped after the module's last test: an idle system still takes some percent of a core,
    which would slow down all later modules.
    """
    prepared: list[System] = []

    def prepare(**how: Any) -> System:
        system = systems.prepare(**how)
        prepared.append(system)
        return system

    yield prepare
    for system in prepared:
        systems.stop(system)


@pytest.fixture(scope="module")
def start_system(prepare_system: Callable[..., System]) -> Callable[..., System]:
    """Return a function that starts such a system; see Systems.prepare() for its arguments."""

    def start(**how: Any) -> System:
        system = prepare_system(**how)
        system.start()
        return system

    return start


@pytest.fixture(scope="session")
def fanfare(systems: Systems) -> Iterator[Fanfare]:
    """Return clients of the shared system, in which at the end no password is found anywhere."""
    system = systems.start()
    with Fanfare(system) as clients:
        yield clients
        found = clients.where(*MARKS)
    systems.stop(system)
    assert found == set()


@pytest.fixture(scope="session")
def native_fanfare(systems: Systems) -> Iterator[Fanfare]:
    """Return clients of a system whose services use the native gRPC server."""
    system = systems.start(FANFARE_GRPC_SERVER=GrpcServerKind.NATIVE)
    with Fanfare(system) as clients:
        yield clients
    systems.stop(system)
