"""Why a process cannot listen on a port, and what to do about it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.settings import host_and_port

# From <net/tcp_states.h>, as /proc/net/tcp shows them.
_LISTEN = 10
# What a `fanfare up` runs each of its servers by; see embedded/keeper.py.
_KEEPER = b"embedded/keeper.py"
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True)
class PortUser:
    """A socket of this machine that has a port as its own."""

    is_listening: bool
    is_lingering: bool
    """Whether no process has it: its connection has ended, and the kernel still keeps the port."""
    inode: str


def bind_error(host: str, port: int) -> OSError | None:
    """Return the error with which this machine refuses to bind the port; None if it does not.

    Args:
        host: a name or an address; with a name, each of its addresses is tried.
        port: the port.
    """
    error: OSError | None = None
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except socket.gaierror as failure:
        return failure
    for family, address in dict.fromkeys((info[0], info[4]) for info in found):
        try:
            with socket.socket(family) as probe:
                # As the servers do, so that most connections of an earlier server do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as failure:
            error = failure
            if failure.errno == errno.EADDRINUSE:
                break
    return error


def is_lingering(port: int) -> bool:
    """Return whether only connections that have ended hold the port, so that it soon is free."""
    users = list(_users(port))
    return bool(users) and all(user.is_lingering for user in users)


def explain_bind_error(host: str, port: int, error: OSError, other_port: str) -> str:
    """Return why the port cannot be used, and what to do about it.

    Args:
        host: the address that was to be bound.
        port: the port.
        error: what the system said.
        other_port: how to choose another port, as in "set FANFARE_READ_PORT to another port".
    """
    match error.errno:
        case _ if isinstance(error, socket.gaierror):
            text = "the name has no address; set FANFARE_BIND to an address of this machine"
        case errno.EADDRINUSE:
            text = _explain_use(port, other_port)
        case errno.EACCES:
            text = f"this user may not use ports below 1024; {other_port}"
        case errno.EADDRNOTAVAIL:
            text = "this machine does not have the address; set FANFARE_BIND to one that it has"
        case errno.EAFNOSUPPORT:
            text = "IPv6 is off on this machine; set FANFARE_BIND to an IPv4 address"
        case _:
            text = f"{error.strerror or error}; {other_port}"
    return f"cannot listen on {host_and_port(host, port)}: {text}"


def _explain_use(port: int, other_port: str) -> str:
    users = list(_users(port))
    for user in users:
        if user.is_listening:
            return f"{_program(user.inode)} listens on the port; stop it, or {other_port}"
    for user in users:
        if not user.is_lingering:
            low, high = _ephemeral_ports()
            return (
                f"a connection of {_program(user.inode)} to elsewhere has the port (the system "
                f"gives such connections ports from {low} to {high}); try again when it has ended, "
                f"or {other_port}"
            )
    if users:
        return (
            "a connection that has ended still has the port, for at most a minute; try again then, "
            f"or {other_port}"
        )
    return f"another program has the port; stop it, or {other_port}"


def _users(port: int) -> Iterator[PortUser]:
    """Yield the TCP sockets with this local port; none where the system has no /proc."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                # sl, local address, remote address, state, ..., and in the tenth column the inode.
                columns = line.split()
                if int(columns[1].rpartition(":")[2], 16) == port:
                    yield PortUser(int(columns[3], 16) == _LISTEN, columns[9] == "0", columns[9])


def _program(inode: str) -> str:
    """Return the program that has a socket, with its process id, as far as this user may know."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) == f"socket:[{inode}]":
                        name = (folder / "comm").read_text().strip()
                        owner = " of another `fanfare up`" * _is_supervised(folder.name)
                        return f"{name} (process {folder.name}){owner}"
    return "another program"


def _is_supervised(pid: str) -> bool:
    """Return whether a `fanfare up` has started the process, and would restart it."""
    with suppress(OSError):
        while int(pid) > 1:
            # The name before the ")" may contain anything; the parent is the second field after it.
            pid = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1]
            if _KEEPER in Path("/proc", pid, "cmdline").read_bytes():
                return True
    return False


def _ephemeral_ports() -> tuple[str, str]:
    try:
        low, high = _EPHEMERAL.read_text().split()
    except (OSError, ValueError):
        return "32768", "60999"
    return low, high
