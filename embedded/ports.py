"""The ports of the embedded servers, all on 127.0.0.1."""

from __future__ import annotations

import itertools
import os
import socket
from dataclasses import dataclass

from embedded.errors import StackError

HOST = "127.0.0.1"
# Below the ephemeral ports of Linux and macOS. Otherwise a client that reconnects repeatedly while
# its server restarts could get the server's port as its own source port.
FIRST, COUNT = 10_000, 20_000
# Each process begins at a different number, so that processes that start together pick different
# ports.
_numbers = itertools.count(os.getpid() * 61)


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


def check_port(port: int, owner: str) -> None:
    """Check that a port is free.

    Args:
        port: the port.
        owner: what it is for, as the message names it.

    Raises:
        StackError: another process listens on it.
    """
    with socket.socket() as probe:
        # As the servers do, so that lingering connections of an earlier server do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StackError(
                f"port {port}, for {owner}, is taken by another process; stop that process, or set "
                "another port or address (README names the settings)"
            ) from error
