"""The embedded stack: Postgres, Valkey and Kafka, each unless its address is given."""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from core.settings import STACK_FILE, Settings
from embedded import postgres as pg
from embedded.jars import kafka_jars
from embedded.kafka import kafka
from embedded.postgres import postgres
from embedded.server import Server, StackError
from embedded.valkey import valkey

__all__ = ["FIXED_PORTS", "Addresses", "Ports", "Stack", "StackError", "default_parts_dir"]


@dataclass(frozen=True)
class Ports:
    """Where the servers listen, on 127.0.0.1."""

    postgres: int
    redis: int
    kafka: int
    kafka_controller: int


FIXED_PORTS = Ports(postgres=5432, redis=6379, kafka=9092, kafka_controller=9093)


@dataclass(frozen=True)
class Addresses:
    """Where to find the servers; the names are those of the settings."""

    postgres_dsn: str
    redis_url: str
    kafka_bootstrap_servers: str


def default_parts_dir() -> Path:
    """Return where the jars are kept, for all stacks of this checkout."""
    return Path(".fanfare").resolve() / "parts"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has at this moment, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [int(bound.getsockname()[1]) for bound in sockets]
    finally:
        for bound in sockets:
            bound.close()


def check_port(port: int, what: str) -> None:
    """Raise StackError if somebody has the port."""
    with socket.socket() as tried:
        # As the servers do: connections of a former server that linger are no obstacle.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(
                f"port {port}, for {what}, is taken by another process: stop that one, or set "
                "another port or address (README names the settings)."
            ) from error


class Stack:
    """The servers of one state folder, from start() to stop()."""

    def __init__(
        self,
        state_dir: Path,
        parts_dir: Path,
        ports: Ports | None = None,
        given: Settings | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare a stack in state_dir, which it makes.

        ports: None for free ones. given: settings whose addresses, where set, stand for a server
        that then is not started. progress: called with a line for each step that takes time.
        """
        self._state_dir = state_dir.resolve()
        self._parts_dir = parts_dir
        self._ports = ports or Ports(*free_ports(4))
        self._given = given or Settings.model_construct()
        self._progress = progress
        self._lock: IO[str] | None = None
        self.addresses = Addresses(
            self._given_or("postgres_dsn", pg.dsn(self._ports.postgres)),
            self._given_or("redis_url", f"redis://127.0.0.1:{self._ports.redis}/0"),
            self._given_or("kafka_bootstrap_servers", f"127.0.0.1:{self._ports.kafka}"),
        )
        self._servers: dict[str, Server] = {}

    @property
    def postgres(self) -> Server:
        """The Postgres that was started."""
        return self._servers["postgres"]

    @property
    def valkey(self) -> Server:
        """The Valkey that was started."""
        return self._servers["valkey"]

    @property
    def kafka(self) -> Server:
        """The Kafka that was started."""
        return self._servers["kafka"]

    def start(self) -> None:
        """Start what is not given, and wait until all of it answers.

        Raises StackError with one sentence; then nothing is left running.
        """
        self._claim()
        given, ports = self._given, self._ports
        wanted = [
            (given.postgres_dsn, "postgres", self._postgres, [ports.postgres]),
            (given.redis_url, "valkey", self._valkey, [ports.redis]),
            (
                given.kafka_bootstrap_servers,
                "kafka",
                self._kafka,
                [ports.kafka, ports.kafka_controller],
            ),
        ]
        own = [(key, build, listens) for address, key, build, listens in wanted if address is None]
        try:
            for key, _, listens in own:
                for port in listens:
                    check_port(port, key.capitalize())
            with ThreadPoolExecutor(3) as pool:
                tasks = [pool.submit(self._start_one, key, build) for key, build, _ in own]
            for task in tasks:
                task.result()
        except BaseException:
            self.stop()
            raise
        (self._state_dir / STACK_FILE).write_text(json.dumps(asdict(self.addresses), indent=2))

    def stop(self) -> None:
        """Stop the servers; what they hold is on disk."""
        (self._state_dir / STACK_FILE).unlink(missing_ok=True)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(Server.stop, self._servers.values()))
        if self._lock is not None:
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
            self._lock = (self._state_dir / "lock").open("w")
        except OSError as error:
            raise StackError(
                f"{self._state_dir} cannot be written to ({error.strerror}): set FANFARE_STATE_DIR "
                "to a folder that can."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            self._lock = None
            raise StackError(
                f"another stack runs in {self._state_dir}: stop it, or set FANFARE_STATE_DIR to "
                "another folder."
            ) from error

    def _start_one(self, key: str, build: Callable[[], Server]) -> None:
        server = build()
        self._servers[key] = server
        server.start()
        self._progress(f"{server.name} is ready")

    def _postgres(self) -> Server:
        return postgres(self._state_dir / "postgres", self._ports.postgres)

    def _valkey(self) -> Server:
        return valkey(self._state_dir / "valkey", self._ports.redis)

    def _kafka(self) -> Server:
        jars = kafka_jars(self._parts_dir / "kafka", self._progress)
        folder = self._state_dir / "kafka"
        return kafka(folder, self._ports.kafka, self._ports.kafka_controller, jars)

    def _given_or(self, name: str, own: str) -> str:
        value = getattr(self._given, name)
        if value is None:
            return own
        return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
