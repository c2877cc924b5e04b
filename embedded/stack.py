"""The embedded stack: Postgres, Valkey and Kafka, each unless its address is given."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from core.settings import STACK_FILE, Settings, load_settings
from embedded import postgres as pg
from embedded.errors import StackError
from embedded.jars import kafka_jars
from embedded.kafka import kafka
from embedded.ports import FIXED_PORTS, HOST, Ports, check_port, free_ports
from embedded.server import Server
from embedded.valkey import valkey

__all__ = [
    "FIXED_PORTS",
    "Addresses",
    "Ports",
    "Stack",
    "StackError",
    "check_port",
    "default_parts_dir",
    "free_ports",
    "write_addresses",
]

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Addresses:
    """Where to find the servers; the names are those of the settings."""

    postgres_dsn: str
    postgres_replica_dsn: str
    redis_url: str
    kafka_bootstrap_servers: str


def default_parts_dir() -> Path:
    """Return where the jars are kept, for all stacks of this checkout."""
    return load_settings().state_dir.resolve() / "parts"


def write_addresses(state_dir: Path, addresses: Addresses) -> None:
    """Record the addresses for core.settings; they hold passwords, so for nobody else to read."""
    whole = state_dir / f"{STACK_FILE}.new"
    whole.unlink(missing_ok=True)
    whole.touch(mode=0o600)
    whole.write_text(json.dumps(asdict(addresses), indent=2))
    whole.rename(state_dir / STACK_FILE)


class Stack:
    """The servers of one state folder, from start() to stop()."""

    def __init__(  # noqa: PLR0913 - each is a plain fact about the stack
        self,
        state_dir: Path,
        parts_dir: Path,
        ports: Ports | None = None,
        given: Settings | None = None,
        progress: Callable[[str], None] = lambda _: None,
        *,
        replica: bool = False,
    ) -> None:
        """Prepare a stack in state_dir, which start() makes.

        ports: None for free ones. given: settings whose addresses, where set, stand for a server
        that then is not started. progress: called with a line for each step that takes time.
        replica: whether Postgres gets a streaming replica for the queries; not of a given one.
        """
        self._state_dir = state_dir.resolve()
        self._parts_dir = parts_dir.resolve()
        self._ports = ports or Ports(*free_ports(5))
        self._given = given or Settings.model_construct()
        self._progress = progress
        self._lock: IO[str] | None = None
        self._cancelled = threading.Event()
        self._password = pg.password(self._state_dir / "postgres")
        primary = self._given_or("postgres_dsn", pg.dsn(self._ports.postgres, self._password))
        self._has_replica = replica and self._given.postgres_dsn is None
        second = pg.dsn(self._ports.replica, self._password) if self._has_replica else primary
        self.addresses = Addresses(
            primary,
            self._given_or("postgres_replica_dsn", second),
            self._given_or("redis_url", f"redis://{HOST}:{self._ports.redis}/0"),
            self._given_or("kafka_bootstrap_servers", f"{HOST}:{self._ports.kafka}"),
        )
        self._servers: dict[str, Server] = {}

    @property
    def postgres(self) -> Server:
        """The Postgres that was started; KeyError when it was not, as with the others."""
        return self._servers["postgres"]

    @property
    def replica(self) -> Server:
        """The replica of Postgres that was started."""
        return self._servers["replica"]

    @property
    def valkey(self) -> Server:
        """The Valkey that was started."""
        return self._servers["valkey"]

    @property
    def kafka(self) -> Server:
        """The Kafka that was started."""
        return self._servers["kafka"]

    @property
    def servers(self) -> list[Server]:
        """All servers that were started."""
        return list(self._servers.values())

    def start(self) -> None:
        """Start what is not given, and wait until all of it answers.

        Raises StackError with one sentence; then nothing is left running.
        """
        self._claim()
        self._cancelled.clear()
        given = self._given
        own = [
            (given.postgres_dsn, "postgres", self._postgres),
            (given.redis_url, "valkey", self._valkey),
            (given.kafka_bootstrap_servers, "kafka", self._kafka),
        ]
        tasks: list[Future[None]] = []
        with ThreadPoolExecutor(len(own)) as pool:
            try:
                for address, key, build in own:
                    if address is None:
                        tasks.append(pool.submit(self._start_one, key, build))
                for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                    task.result()
                write_addresses(self._state_dir, self.addresses)
            except BaseException:
                self._cancelled.set()
                # A task may still be about to launch its server.
                while wait(tasks, POLL_SECONDS).not_done:
                    self._stop_servers()
                self.stop()
                raise

    def stop(self) -> None:
        """Stop the servers; what they hold is on disk."""
        if self._lock is None:
            return  # the folder may be another stack's
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

    def _claim(self) -> None:
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            lock = (self._state_dir / "lock").open("w")
        except OSError as error:
            raise StackError(
                f"{self._state_dir} cannot be written to ({error.strerror}): set FANFARE_STATE_DIR "
                "to a folder that can."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StackError(
                f"another stack runs in {self._state_dir}: stop it, or set FANFARE_STATE_DIR to "
                "another folder."
            ) from error
        self._lock = lock
        # A crash leaves addresses at which nobody answers.
        (self._state_dir / STACK_FILE).unlink(missing_ok=True)

    def _start_one(self, key: str, build: Callable[[], Server]) -> None:
        try:
            server = build()
            self._servers[key] = server
            if self._cancelled.is_set():
                return
            server.start()
        except OSError as error:
            raise StackError(
                f"{error.filename or self._state_dir} cannot be used ({error.strerror}): set "
                "FANFARE_STATE_DIR to a folder that is yours and has room."
            ) from error
        self._progress(f"{server.name} is ready")
        if key == "postgres" and self._has_replica:
            # After the primary, from which it is copied.
            self._start_one("replica", self._replica)

    def _stop_servers(self) -> None:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda server: server.stop(), self.servers))

    def _postgres(self) -> Server:
        return pg.postgres(self._state_dir / "postgres", self._ports.postgres, self._password)

    def _replica(self) -> Server:
        ports = self._ports
        folder = self._state_dir / "postgres-replica"
        return pg.Replica(
            folder, ports.replica, self._password, self._state_dir / "postgres", ports.postgres
        )

    def _valkey(self) -> Server:
        return valkey(self._state_dir / "valkey", self._ports.redis)

    def _kafka(self) -> Server:
        jars = kafka_jars(self._parts_dir / "kafka", self._progress, self._cancelled)
        folder = self._state_dir / "kafka"
        return kafka(folder, self._ports.kafka, self._ports.kafka_controller, jars)

    def _given_or(self, name: str, own: str) -> str:
        value = getattr(self._given, name)
        if value is None:
            return own
        return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
