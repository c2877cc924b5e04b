"""The ports of the embedded servers, all on 127.0.0.1."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.runtime.ports import bind_error, explain_bind_error, is_lingering
from embedded.errors import StackError

HOST = "127.0.0.1"
# Below the ephemeral ports of Linux and macOS. Otherwise a client that reconnects repeatedly while
# its server restarts could get the server's port as its own source port.
FIRST, COUNT = 10_000, 20_000
ANY_PORTS = "run `fanfare up --ports auto`, which takes free ports"
# Linux keeps the port of an ended connection for a minute.
LINGER_SECONDS = 65.0
POLL_SECONDS = 0.2
# Each process begins at a different number, so that processes that run together pick different
# ports. A port may be free only for a moment, because another process restarts its server, so
# processes with neighbouring ids begin thousands of ports apart.
_numbers = itertools.count(os.getpid() * 7919)


@dataclass(frozen=True)
class Ports:
    """The port of each embedded server."""

    postgres: int
    replica: int
    redis: int
    kafka: int
    kafka_controller: int


FIXED_PORTS = Ports(postgres=5432, replica=5433, redis=6379, kafka=9092, kafka_controller=9093)


def free_ports(count: int) -> list[int]:
    """Return different ports that are free at this moment.

    Raises:
        StackError: there are not enough free ports.
    """
    free: list[int] = []
    for number in itertools.islice(_numbers, COUNT):
        if len(free) == count:
            return free
        with socket.socket() as probe:
            try:
                probe.bind((HOST, FIRST + number % COUNT))
            except OSError:
                continue
            free.append(FIRST + number % COUNT)
    raise StackError(
        f"fewer than {count} ports from {FIRST} to {FIRST + COUNT - 1} are free; stop the "
        "processes that use them"
    )


def free_port_with(offsets: Iterable[int]) -> int:
    """Return a port for which each port that is higher by one of the offsets is free now.

    Raises:
        StackError: there is none.
    """
    wanted = list(offsets)
    for number in itertools.islice(_numbers, COUNT):
        first = FIRST + number % COUNT
        if all(bind_error(HOST, first + offset) is None for offset in wanted):
            # free_ports() goes on above them.
            next(itertools.islice(_numbers, max(wanted), None))
            return first
    raise StackError(
        f"no free ports for metrics between {FIRST} and {FIRST + COUNT + max(wanted)}; stop the "
        "processes that use them, or set FANFARE_METRICS_PORT=0"
    )


@dataclass(frozen=True)
class WantedPort:
    """A port that a server is about to listen on."""

    port: int
    owner: str
    """The server, as messages name it."""
    host: str = HOST
    other_port: str = ANY_PORTS
    """How to choose another port, as messages say it."""

    def check(self) -> None:
        """Raise StackError if this machine does not let a server listen on the port."""
        error = bind_error(self.host, self.port)
        if error is not None:
            reason = explain_bind_error(self.host, self.port, error, self.other_port)
            raise StackError(f"{self.owner} {reason}") from error


def wait_for_ports(ports: Iterable[WantedPort], progress: Callable[[str], None]) -> None:
    """Check that the ports are free; wait for those that ended connections still have.

    Such a port becomes free within a minute.

    Raises:
        StackError: a port is taken otherwise, or still is after LINGER_SECONDS.
    """
    lingering = []
    for wanted in ports:
        try:
            wanted.check()
        except StackError:
            if not is_lingering(wanted.port):
                raise
            lingering.append(wanted)
    deadline = time.monotonic() + LINGER_SECONDS
    for wanted in lingering:
        progress(f"Waiting until an ended connection frees port {wanted.port} (at most a minute)")
        while is_lingering(wanted.port) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        wanted.check()
