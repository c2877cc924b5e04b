"""The whole of Fanfare on this machine: the embedded stack and the three processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from core.auth.access_tokens import create_key
from core.rpc.health_probe import health_serves, probe
from core.runtime.metrics_ports import metrics_addresses, metrics_ports
from core.settings import PREFIX, GrpcServerKind, Settings, SettingsError
from core.settings_loading import refuse_equal_ports, refuse_native_tls
from embedded.causes import real_path
from embedded.ports import ANY_PORTS, HOST, WantedPort, free_port_with, wait_for_ports
from embedded.prometheus import FIXED_PORT as FIXED_PROMETHEUS_PORT
from embedded.prometheus import prepare_prometheus
from embedded.server import ServerProcess
from embedded.stack import FIXED_PORTS, Ports, Stack, free_ports
from ops.certificates import Authority
from ops.instance import to_record
from ops.migrate import migrate

ROOT = Path(__file__).resolve().parent.parent
# The metrics port on fixed ports, unless the operator has set another one, or 0.
FIXED_METRICS_PORT = 9464


@dataclass(frozen=True)
class ServicePorts:
    """The ports of the three processes, by the names of their settings."""

    write_port: int
    read_port: int
    worker_port: int
    rest_write_port: int
    rest_read_port: int


class System:
    """An embedded stack and the processes that use it, started and stopped as one."""

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
        prometheus_rules: Path | None = None,
    ) -> None:
        """Prepare a system, without starting it.

        Args:
            state_dir: the folder of its data, logs, keys and certificates.
            parts_dir: the folder of Kafka's jars.
            given: settings; a server whose address is set in them is used and not started.
            fixed_ports: whether to use the fixed ports of the servers and the ports in `given`;
                otherwise free ports are used.
            environment: more environment variables for the processes.
            progress: called with a line for each step that takes time.
            replica: whether to run a streaming replica of Postgres, for queries.
            auth: whether to require access tokens and TLS.
            prometheus_rules: a folder of rule files, to run a Prometheus that scrapes the processes
                and evaluates these rules; None to run none.

        Raises:
            SettingsError: `auth` with the native gRPC server, which has no TLS; or a Prometheus
                without metrics.
            StackError: Prometheus is not installed; or a folder cannot be used.
        """
        self._state_dir = real_path(state_dir)
        self._progress = progress
        given = given or Settings()
        names = ServicePorts.__dataclass_fields__
        self._ports = (
            ServicePorts(**{name: getattr(given, name) for name in names})
            if fixed_ports
            else ServicePorts(*free_ports(len(names)))
        )
        own = {name: str(getattr(self._ports, name)) for name in names}
        read_processes = (environment or {}).get(f"{PREFIX}READ_PROCESSES", given.read_processes)
        first = _first_metrics_port(given, int(read_processes), fixed_ports=fixed_ports)
        own |= {"metrics_port": str(first), "read_processes": str(read_processes)}
        self._auth = auth
        if auth:
            own["auth_keys"] = str(self._state_dir / "keys")
            own["tls_dir"] = str(self._state_dir / "tls")
        stack_ports: Ports | None = FIXED_PORTS if fixed_ports else None
        self.stack = Stack(
            self._state_dir,
            parts_dir,
            stack_ports,
            given,
            progress,
            replica=replica,
            record=to_record(given, own),
        )
        own |= asdict(self.stack.addresses) | {"state_dir": str(self._state_dir)}
        self._environment = (
            dict(os.environ)
            | {f"{PREFIX}{name.upper()}": value for name, value in own.items()}
            | dict(environment or {})
            # Only for the system's own processes: each needs metrics ports that no other one has.
            | {f"{PREFIX}METRICS_PORT": "0"}
        )
        self.settings = Settings(**own)  # type: ignore[arg-type]
        refuse_native_tls(self.settings)
        self.processes: dict[str, ServerProcess] = {}
        self._prometheus_port = 0
        self._prometheus: ServerProcess | None = None
        if prometheus_rules is not None:
            self._prepare_prometheus(prometheus_rules, fixed_ports=fixed_ports)

    @property
    def prometheus_address(self) -> str | None:
        """The host:port of Prometheus; None if the system has none."""
        return f"{HOST}:{self._prometheus_port}" if self._prometheus else None

    @property
    def servers(self) -> list[ServerProcess]:
        """Everything that was started: the servers of the stack, the processes, Prometheus."""
        own = [self._prometheus] if self._prometheus else []
        return [*self.stack.servers, *self.processes.values(), *own]

    def start(self) -> None:
        """Start everything and wait until all processes serve.

        Raises:
            StackError, OpsError: something could not be started; nothing is left running then.
        """
        try:
            # First, so that a second start in one folder is told from a port that is taken.
            self.stack.lock()
            self._check_ports()
            self.stack.start()
            if self._auth:
                _make_secrets(self._state_dir, self.settings.bind)
            for line in migrate(self.settings, waiting=self._progress):
                self._progress(line.capitalize())
            settings = self.settings
            metrics = metrics_addresses(settings)
            for name, package, port, rest_port in (
                ("write", "write_service", settings.write_port, settings.rest_write_port),
                ("read", "read_service", settings.read_port, settings.rest_read_port),
                ("worker", "fanout_worker", settings.worker_port, 0),
            ):
                target = settings.local_address(port)
                ready = self._serving(target, rest_port, metrics.get(name, ()))
                self._launch(name, package, ready)
            self._wait_ready()
            if self._prometheus is not None:
                self._prometheus.start()
                self._progress(f"{self._prometheus.name} is ready")
        except BaseException:
            self.stop()
            raise

    def _prepare_prometheus(self, rules: Path, *, fixed_ports: bool) -> None:
        targets = metrics_addresses(self.settings)
        if not targets:
            raise SettingsError(
                f"{PREFIX}METRICS_PORT is 0, so Prometheus would find no metrics; set it to a "
                "port, or unset it"
            )
        self._prometheus_port = FIXED_PROMETHEUS_PORT if fixed_ports else free_ports(1)[0]
        self._prometheus = prepare_prometheus(
            self._state_dir / "prometheus",
            self._prometheus_port,
            targets,
            rules,
            self.settings.tls_dir,
        )

    def _check_ports(self) -> None:
        """Check that no two ports are the same, and that all are free.

        Raises:
            SettingsError: two ports are the same, or one that must be known is 0.
            StackError: a port is taken.
        """
        own = {f"{PREFIX}{name.upper()}": port for name, port in asdict(self._ports).items()}
        wanted = self.stack.wanted_ports()
        if self._prometheus is not None:
            wanted.append(WantedPort(self._prometheus_port, self._prometheus.name))
        for name in ("write_port", "read_port", "worker_port"):
            if getattr(self._ports, name) == 0:
                raise SettingsError(
                    f"{PREFIX}{name.upper()} is 0, so nobody would know the port; set it to a "
                    f"port, or {ANY_PORTS}"
                )
        own |= self._metrics_ports()
        refuse_equal_ports(own | {f"the port of {each.owner}": each.port for each in wanted})
        wanted += [
            WantedPort(
                port,
                name,
                self.settings.bind,
                f"set {name.split()[0]} to another port, or {ANY_PORTS}",
            )
            for name, port in own.items()
        ]
        wait_for_ports(wanted, self._progress)

    def _metrics_ports(self) -> dict[str, int]:
        """Return the metrics port of each process, by what messages call it."""
        if not self.settings.metrics_port:
            return {}
        ports = metrics_ports(self.settings.metrics_port, self.settings.read_processes)
        return {
            f"{PREFIX}METRICS_PORT of {program.name.lower()} process {number}": port
            for program, each in ports.items()
            for number, port in enumerate(each, 1)
        }

    def _wait_ready(self) -> None:
        """Wait until all processes serve.

        Raises:
            StackError: one of them ended, or does not serve in time. All of them are stopped then.
        """
        with ThreadPoolExecutor(len(self.processes)) as pool:
            tasks = {pool.submit(each.wait_ready): each for each in self.processes.values()}
            try:
                for task in as_completed(tasks):
                    task.result()
                    self._progress(f"{tasks[task].name} is ready")
            except BaseException:
                self.stop()  # which also ends the other waits
                raise

    def stop(self) -> None:
        """Drain the processes and stop Prometheus, then stop the stack."""
        own = [self._prometheus] if self._prometheus else []
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ServerProcess.stop, [*self.processes.values(), *own]))
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
            "second-write",
            "write_service",
            self._serving(target),
            write_port=str(port),
            rest_write_port="0",
        )
        service.start()
        return service, target

    def another_read_service(
        self,
        processes: int,
        auth_keys: Path | None = None,
        grpc_server: GrpcServerKind | None = None,
        *,
        module: str = "read_service",
        metrics_port: int = 0,
    ) -> tuple[ServerProcess, str]:
        """Start a second read service, which the caller stops; return it and its target.

        Args:
            processes: how many processes share its port.
            auth_keys: the folder of the keys, to require access tokens; None for the system's own
                setting.
            grpc_server: its gRPC server; None for the system's own setting.
            module: what it runs.
            metrics_port: the first of its metrics ports; 0 if it has no metrics.
        """
        (port,) = free_ports(1)
        target = f"127.0.0.1:{port}"
        own = {"auth_keys": str(auth_keys)} if auth_keys else {}
        if grpc_server:
            own["grpc_server"] = grpc_server
        service = self._process(
            # Different names, because all kinds may run at the same time, and the log and the lock
            # are named after the process.
            "asking-read" if auth_keys else f"{grpc_server or 'second'}-{module}",
            module,
            self._serving(target),
            read_port=str(port),
            rest_read_port="0",
            metrics_port=str(metrics_port),
            read_processes=str(processes),
            **own,
        )
        service.start()
        return service, target

    def _serving(
        self, target: str, rest_port: int = 0, metrics: Sequence[str] = ()
    ) -> Callable[[], bool]:
        """Return a function that returns whether all of a program's processes serve.

        Args:
            target: host:port of its gRPC server.
            rest_port: the port of its REST server; 0 if REST is off.
            metrics: host:port of the metrics of each process, because any one of several processes
                answers on the ports that they share.
        """
        tls_dir = self.settings.tls_dir
        http = [self.settings.local_address(rest_port), *metrics] if rest_port else metrics
        return lambda: (
            probe(target, tls_dir=tls_dir) is None
            and all(health_serves(address, tls_dir) for address in http)
        )

    def _launch(self, name: str, package: str, ready: Callable[[], bool]) -> None:
        metrics_port = str(self.settings.metrics_port)
        process = self._process(name, package, ready, metrics_port=metrics_port)
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


def fixed_metrics_port(given: Settings) -> int:
    """Return the first metrics port of a system on fixed ports; 0 if metrics are off."""
    return given.metrics_port if "metrics_port" in given.model_fields_set else FIXED_METRICS_PORT


def _first_metrics_port(given: Settings, read_processes: int, *, fixed_ports: bool) -> int:
    """Return the first metrics port of a system; 0 if metrics are off."""
    fixed = fixed_metrics_port(given)
    if fixed_ports or not fixed:
        return fixed
    ports = metrics_ports(0, read_processes)
    return free_port_with(port for each in ports.values() for port in each)


def _make_secrets(state_dir: Path, bind: str) -> None:
    if not any((state_dir / "keys").glob("*.private.pem")):
        create_key(state_dir / "keys")
    # Issued at each start, because earlier certificates may have expired.
    Authority().issue(state_dir / "tls", "fanfare", bind)
