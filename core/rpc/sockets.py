"""The sockets of this process that belong to a TCP port.

grpc opens and accepts its sockets itself, and has no call to stop listening or to close one
connection. The process's table of file descriptors has them all.
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
    """Free the port: new connections reach another process that listens there, or are refused."""
    for number, found in _sockets(port):
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            # Not by shutdown(), which would keep the port and have grpc log an error. grpc keeps
            # its descriptor, which stands for a socket that nobody can connect to from here on.
            with socket.socket() as unused:
                os.dup2(unused.fileno(), number, inheritable=False)


def connections(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Yield each connection that was accepted at the port, with the port at the other end.

    The socket is closed after the step; shutdown() ends the connection for its owner too.
    """
    for _, found in _sockets(port):
        with suppress(OSError):  # a listening socket, or a connection that has just ended
            yield found.getpeername()[1], found


def _sockets(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Yield the descriptor of each socket whose own port this is, and a copy of the socket."""
    for path in Path("/dev/fd").iterdir():
        number = int(path.name)
        with suppress(OSError), _copy(number) as found:
            if found is not None and found.getsockname()[1] == port:
                yield number, found


@contextmanager
def _copy(number: int) -> Iterator[socket.socket | None]:
    """Yield another socket object for a descriptor, None for what is no TCP socket."""
    copy = os.dup(number)  # OSError for one that was closed meanwhile
    if not stat.S_ISSOCK(os.fstat(copy).st_mode):
        os.close(copy)
        yield None
        return
    with socket.socket(fileno=copy) as found:
        yield found if found.family in _FAMILIES else None
