"""The embedded stack: starts and stops Postgres, Valkey and Kafka as one.

If the settings give the address of a server, that server is used, and the stack starts none.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Self

from core.settings import PREFIX, STACK_FILE, Settings
from core.settings_loading import load_settings
from embedded import postgres as pg
from embedded.causes import os_errors_explained, real_path, refuse_unusable_path
from embedded.errors import StackError
from embedded.jars import kafka_jars
from embedded.kafka import prepare_kafka
from embedded.ports import ANY_PORTS, FIXED_PORTS, HOST, Ports, WantedPort, free_ports
from embedded.server import ServerProcess
from embedded.valkey import prepare_valkey

__all__ = [
    "FIXED_PORTS",
    "Addresses",
    "Ports",
    "Stack",
    "StackError",
    "default_parts_dir",
    "free_ports",
    "write_record",
]

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Addresses:
    """The addresses of the servers, under the names of the settings."""

    postgres_dsn: str
    postgres_replica_dsn: str
    redis_url: str
    kafka_bootstrap_servers: str


def default_parts_dir() -> Path:
    """Return the folder of downloaded parts, which all stacks of this checkout share."""
    return real_path(load_settings().state_dir) / "parts"


def write_record(state_dir: Path, record: Mapping[str, str | int | None]) -> None:
    """Write a record to the state folder, where processes and commands find the instance.

    Only this user may read the file, because the addresses in it contain passwords.

    Args:
        state_dir: the state folder.
        record: the values, by the names of the settings.
    """
    new = state_dir / f"{STACK_FILE}.new"
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(json.dumps(record, indent=2))
    new.rename(state_dir / STACK_FILE)


class Stack:
    """One set of servers, whose data and logs are in one state folder."""

    def __init__(  # noqa: PLR0913 - each is a plain fact about the stack
        self,
        state_dir: Path,
        parts_dir: Path,
        ports: Ports | None = None,
        given: Settings | None = None,
        progress: Callable[[str], None] = lambda _: None,
        *,
        replica: bool = False,
        record: Mapping[str, str | int | None] = MappingProxyType({}),
    ) -> None:
        """Prepare a stack, without starting it.

        Args:
            state_dir: the folder of its data and logs; start() creates it.
            parts_dir: the folder of Kafka's jars; see default_parts_dir().
            ports: where the servers listen; None for free ports.
            given: settings; a server whose address is set in them is used and not started.
            progress: called with a line for each step that takes time.
            replica: whether to run a streaming replica of Postgres too; ignored where the address
                of Postgres is given.
            record: what to record in the state folder beside the addresses of the servers.
        """
        self._state_dir = real_path(state_dir)
        self._parts_dir = real_path(parts_dir)
        self._ports = ports or Ports(*free_ports(5))
        self._given = given or Settings.model_construct()
        self._progress = progress
        self._lock: IO[str] | None = None
        self._cancelled = threading.Event()
        self._password = pg.load_password(self._state_dir / "postgres")
        primary = self._given_or("postgres_dsn", pg.dsn(self._ports.postgres, self._password))
        self._has_replica = replica and self._given.postgres_dsn is None
        replica_dsn = pg.dsn(self._ports.replica, self._password) if self._has_replica else primary
        self.addresses = Addresses(
            primary,
            self._given_or("postgres_replica_dsn", replica_dsn),
            self._given_or("redis_url", f"redis://{HOST}:{self._ports.redis}/0"),
            self._given_or("kafka_bootstrap_servers", f"{HOST}:{self._ports.kafka}"),
        )
        self._record = {**asdict(self.addresses), **record}
        self._servers: dict[str, ServerProcess] = {}

    @property
    def postgres(self) -> ServerProcess:
        """The Postgres of this stack. Like the next three: KeyError if it was not started."""
        return self._servers["postgres"]

    @property
    def replica(self) -> ServerProcess:
        """The replica of the Postgres of this stack."""
        return self._servers["replica"]

    @property
    def valkey(self) -> ServerProcess:
        """The Valkey of this stack."""
        return self._servers["valkey"]

    @property
    def kafka(self) -> ServerProcess:
        """The Kafka of this stack."""
        return self._servers["kafka"]

    @property
    def servers(self) -> list[ServerProcess]:
        """All servers that were started, not those whose addresses were given."""
        return list(self._servers.values())

    def wanted_ports(self) -> list[WantedPort]:
        """Return the ports of the servers that start() starts."""
        given, ports = self._given, self._ports
        wanted = [
            (given.postgres_dsn, ports.postgres, "Postgres", "postgres_dsn"),
            (given.redis_url, ports.redis, "Valkey", "redis_url"),
            (given.kafka_bootstrap_servers, ports.kafka, "Kafka", "kafka_bootstrap_servers"),
            (given.kafka_bootstrap_servers, ports.kafka_controller, "Kafka's controller", ""),
        ]
        if self._has_replica:
            wanted.append((None, ports.replica, "Postgres' replica", ""))
        return [
            WantedPort(port, name, other_port=_other_server(setting))
            for address, port, name, setting in wanted
            if address is None
        ]

    def lock(self) -> None:
        """Lock the state folder against other stacks, until stop(); start() does so too.

        Raises:
            StackError: another stack has it, or it cannot be used.
        """
        if self._lock is not None:
            return
        refuse_unusable_path(self._state_dir)
        with os_errors_explained(self._state_dir):
            self._lock_state_dir()

    def start(self) -> None:
        """Start the servers whose addresses are not given, and wait until all of them are ready.

        Raises:
            StackError: a server could not be started; nothing is left running then.
        """
        self.lock()
        self._cancelled.clear()
        given = self._given
        builders = [
            (given.postgres_dsn, "postgres", self._postgres),
            (given.redis_url, "valkey", self._valkey),
            (given.kafka_bootstrap_servers, "kafka", self._kafka),
        ]
        tasks: list[Future[None]] = []
        with ThreadPoolExecutor(len(builders)) as pool:
            try:
                for address, key, build in builders:
                    if address is None:
                        tasks.append(pool.submit(self._start_one, key, build))
                for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                    task.result()
                write_record(self._state_dir, self._record)
            except BaseException:
                self._cancelled.set()
                # Repeatedly, because a task may be just about to launch its server.
                while wait(tasks, POLL_SECONDS).not_done:
                    self._stop_servers()
                self.stop()
                raise

    def stop(self) -> None:
        """Stop the servers; their data stay in the state folder."""
        if self._lock is None:
            return  # not started; the folder may be in use by another stack
        (self._state_dir / STACK_FILE).unlink(missing_ok=True)
        self._stop_servers()
        self._lock.close()
        self._lock = None

    def __enter__(self) -> Self:
        """Start the stack."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the stack."""
        self.stop()

    def _lock_state_dir(self) -> None:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        lock = (self._state_dir / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise StackError(
                f"another `fanfare up` runs in {self._state_dir}; stop it, or set "
                "FANFARE_STATE_DIR to another folder"
            ) from error
        self._lock = lock
        # After a crash, the addresses of the earlier run are still there.
        (self._state_dir / STACK_FILE).unlink(missing_ok=True)

    def _start_one(self, key: str, build: Callable[[], ServerProcess]) -> None:
        with os_errors_explained(self._state_dir):
            server = build()
            self._servers[key] = server
            if self._cancelled.is_set():
                return
            server.start()
        self._progress(f"{server.name} is ready")
        if key == "postgres" and self._has_replica:
            # Only now, because the replica is copied from the primary.
            self._start_one("replica", self._replica)

    def _stop_servers(self) -> None:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda server: server.stop(), self.servers))

    def _postgres(self) -> ServerProcess:
        return pg.prepare_postgres(
            self._state_dir / "postgres", self._ports.postgres, self._password
        )

    def _replica(self) -> ServerProcess:
        ports = self._ports
        folder = self._state_dir / "postgres-replica"
        return pg.PostgresReplica(
            folder, ports.replica, self._password, self._state_dir / "postgres", ports.postgres
        )

    def _valkey(self) -> ServerProcess:
        return prepare_valkey(self._state_dir / "valkey", self._ports.redis)

    def _kafka(self) -> ServerProcess:
        jars = kafka_jars(self._parts_dir / "kafka", self._progress, self._cancelled)
        folder = self._state_dir / "kafka"
        return prepare_kafka(folder, self._ports.kafka, self._ports.kafka_controller, jars)

    def _given_or(self, name: str, own: str) -> str:
        value = getattr(self._given, name)
        if value is None:
            return own
        return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def _other_server(setting: str) -> str:
    """Return what an operator can do whose port is taken by a server like ours."""
    use = f"set {PREFIX}{setting.upper()} to use a server that runs, or " if setting else ""
    return use + ANY_PORTS
