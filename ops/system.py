"""The whole of Fanfare on this machine: the embedded stack and the four processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from core.auth.access_tokens import create_key
from core.rpc.health_probe import gateway_serves, probe
from core.settings import PREFIX, Settings
from embedded.server import ServerProcess
from embedded.stack import FIXED_PORTS, Ports, Stack, check_port, free_ports
from ops.certificates import Authority
from ops.migrate import migrate

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ServicePorts:
    """Where the four processes listen; the names are those of the settings."""

    write_port: int
    read_port: int
    worker_port: int
    rest_write_port: int
    rest_read_port: int


class System:
    """A stack and its processes, from start() to stop()."""

    def __init__(  # noqa: PLR0913 - each is a plain fact about the system
        self,
        state_dir: Path,
        parts_dir: Path,
        *,
        given: Settings | None = None,
        fixed_ports: bool = False,
        environment: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda _: None,
        replica: bool = False,
        auth: bool = False,
    ) -> None:
        """Prepare a system whose data and logs are in state_dir.

        given: settings whose addresses stand for servers that then are not started, and, with
        fixed_ports, whose ports are used; else all ports are free ones. environment: further
        settings of the processes. progress: called with a line for each step that takes time.
        replica: whether queries go to a streaming replica of Postgres. auth: whether callers must
        say who they are, over TLS; keys and certificates are in the state folder.
        """
        self._state_dir = state_dir.resolve()
        self._progress = progress
        given = given or Settings()
        names = ServicePorts.__dataclass_fields__
        self._ports = (
            ServicePorts(**{name: getattr(given, name) for name in names})
            if fixed_ports
            else ServicePorts(*free_ports(len(names)))
        )
        stack_ports: Ports | None = FIXED_PORTS if fixed_ports else None
        self.stack = Stack(
            self._state_dir, parts_dir, stack_ports, given, progress, replica=replica
        )
        addresses = self.stack.addresses
        own = {
            "state_dir": str(self._state_dir),
            "postgres_dsn": addresses.postgres_dsn,
            "postgres_replica_dsn": addresses.postgres_replica_dsn,
            "redis_url": addresses.redis_url,
            "kafka_bootstrap_servers": addresses.kafka_bootstrap_servers,
            **{name: str(getattr(self._ports, name)) for name in names},
        }
        self._auth = auth
        if auth:
            own["auth_keys"] = str(self._state_dir / "keys")
            own["tls_dir"] = str(self._state_dir / "tls")
        self._environment = (
            dict(os.environ)
            | {f"{PREFIX}{name.upper()}": value for name, value in own.items()}
            | dict(environment or {})
        )
        self.settings = Settings(**own)  # type: ignore[arg-type]
        self.processes: dict[str, ServerProcess] = {}

    @property
    def servers(self) -> list[ServerProcess]:
        """All that was started: the stack's servers and the processes."""
        return [*self.stack.servers, *self.processes.values()]

    def start(self) -> None:
        """Start everything and wait until all of it serves.

        Raises StackError or OpsError with one sentence; then nothing is left running.
        """
        try:
            for name in ServicePorts.__dataclass_fields__:
                check_port(getattr(self._ports, name), f"{PREFIX}{name.upper()}")
            self.stack.start()
            if self._auth:
                _make_secrets(self._state_dir)
            for line in migrate(self.settings):
                self._progress(line.capitalize())
            settings = self.settings
            self._launch("write", "write_service", self._serving(settings.write_service_target()))
            self._launch("read", "read_service", self._serving(settings.read_service_target()))
            self._launch(
                "worker", "fanout_worker", self._serving(f"127.0.0.1:{settings.worker_port}")
            )
            self._launch(
                "gateway",
                "gateway",
                lambda: (
                    gateway_serves(settings.rest_write_port, settings.tls_dir)
                    and gateway_serves(settings.rest_read_port, settings.tls_dir)
                ),
            )
            for process in self.processes.values():
                process.wait_ready()
                self._progress(f"{process.name} is ready")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Drain the processes, those that call others first, and stop the stack."""
        gateway = self.processes.get("gateway")
        if gateway is not None:
            gateway.stop()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ServerProcess.stop, self.processes.values()))
        self.stack.stop()

    def __enter__(self) -> Self:
        """Start the system."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the system."""
        self.stop()

    def another_worker(self) -> ServerProcess:
        """Start a second fan-out worker, which the caller stops; return it."""
        (port,) = free_ports(1)
        worker = self._process(
            "second-worker",
            "fanout_worker",
            self._serving(f"127.0.0.1:{port}"),
            worker_port=str(port),
        )
        worker.start()
        return worker

    def another_write_service(self) -> tuple[ServerProcess, str]:
        """Start a second write service, which the caller stops; return it and its target."""
        (port,) = free_ports(1)
        target = f"127.0.0.1:{port}"
        service = self._process(
            "second-write", "write_service", self._serving(target), write_port=str(port)
        )
        service.start()
        return service, target

    def another_read_service(
        self, processes: int, auth_keys: Path | None = None
    ) -> tuple[ServerProcess, str]:
        """Start a second read service, of so many processes, which the caller stops.

        Returns it and its target. auth_keys: the folder of keys, where callers must say who they
        are.
        """
        (port,) = free_ports(1)
        target = f"127.0.0.1:{port}"
        keys = {"auth_keys": str(auth_keys)} if auth_keys else {}
        service = self._process(
            # Both may run at a time, each with its log and lock.
            "asking-read" if auth_keys else "second-read",
            "read_service",
            self._serving(target),
            read_port=str(port),
            read_processes=str(processes),
            **keys,
        )
        service.start()
        return service, target

    def _serving(self, target: str) -> Callable[[], bool]:
        return lambda: probe(target, tls_dir=self.settings.tls_dir) is None

    def _launch(self, name: str, package: str, ready: Callable[[], bool]) -> None:
        process = self._process(name, package, ready)
        process.launch()
        self.processes[name] = process

    def _process(
        self, name: str, package: str, ready: Callable[[], bool], **settings: str
    ) -> ServerProcess:
        own = {f"{PREFIX}{setting.upper()}": value for setting, value in settings.items()}
        path = f"{ROOT}{os.pathsep}{ROOT / 'gen'}"
        return ServerProcess(
            f"The {name} process",
            [sys.executable, "-m", package],
            self._state_dir / "logs" / f"{name}.log",
            ready,
            environment=self._environment | own | {"PYTHONPATH": path},
        )


def _make_secrets(state_dir: Path) -> None:
    if not any((state_dir / "keys").glob("*.private.pem")):
        create_key(state_dir / "keys")
    # Anew at each start: those of before may have expired.
    Authority().issue(state_dir / "tls", "fanfare")
