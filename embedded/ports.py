"""Where the servers listen, on 127.0.0.1."""

from __future__ import annotations

import itertools
import os
import socket
from dataclasses import dataclass

from embedded.errors import StackError

HOST = "127.0.0.1"
# Below the ports that Linux and macOS hand to outgoing connections: a client that dials again and
# again while its server restarts could be given the server's own port.
FIRST, COUNT = 10_000, 20_000
# Each process begins elsewhere, so runs that start at the same moment do not pick the same ports.
_numbers = itertools.count(os.getpid() * 61)


@dataclass(frozen=True)
class Ports:
    """Where the servers listen, on 127.0.0.1."""

    postgres: int
    replica: int
    redis: int
    kafka: int
    kafka_controller: int


FIXED_PORTS = Ports(postgres=5432, replica=5433, redis=6379, kafka=9092, kafka_controller=9093)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has at this moment, all different.

    Raises StackError when there are not so many.
    """
    free: list[int] = []
    for number in itertools.islice(_numbers, COUNT):
        if len(free) == count:
            return free
        with socket.socket() as tried:
            try:
                tried.bind((HOST, FIRST + number % COUNT))
            except OSError:
                continue
            free.append(FIRST + number % COUNT)
    raise StackError(
        f"no {count} ports from {FIRST} to {FIRST + COUNT - 1} are free: stop what has them."
    )


def check_port(port: int, what: str) -> None:
    """Raise StackError if somebody has the port."""
    with socket.socket() as tried:
        # As the servers do: connections of a former server that linger are no obstacle.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise StackError(
                f"port {port}, for {what}, is taken by another process: stop that one, or set "
                "another port or address (README names the settings)."
            ) from error
