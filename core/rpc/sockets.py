"""The sockets of this process that belong to a TCP port.

grpc has no function that only stops listening, or that closes one connection. Therefore its sockets
are found in the process's table of file descriptors (decision 0020).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FAMILIES = {socket.AF_INET, socket.AF_INET6}


def stop_listening(port: int) -> None:
    """Free the port: new connections reach another process that listens on it, or are refused."""
    for number, found in _sockets(port):
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            # Replace the socket behind grpc's descriptor by one that nobody can connect to.
            # shutdown() would keep the port, and make grpc log an error.
            with socket.socket() as unused:
                os.dup2(unused.fileno(), number, inheritable=False)


def connections(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Yield the client's port and the socket of each connection that was accepted at the port.

    The socket is a copy that is closed when the iteration goes on. Its shutdown() ends the
    connection.
    """
    for _, found in _sockets(port):
        with suppress(OSError):  # a listening socket, or a connection that has just ended
            yield found.getpeername()[1], found


def _sockets(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Yield the file descriptor and a copy of each socket with this local port."""
    for path in Path("/dev/fd").iterdir():
        number = int(path.name)
        with suppress(OSError), _copy(number) as found:
            if found is not None and found.getsockname()[1] == port:
                yield number, found


@contextmanager
def _copy(number: int) -> Iterator[socket.socket | None]:
    """Yield a copy of the TCP socket behind a descriptor, or None if it is not a TCP socket."""
    copy = os.dup(number)  # OSError if it was closed meanwhile
    if not stat.S_ISSOCK(os.fstat(copy).st_mode):
        os.close(copy)
        yield None
        return
    with socket.socket(fileno=copy) as found:
        yield found if found.family in _FAMILIES else None
