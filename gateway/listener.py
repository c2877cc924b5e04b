"""A port that holds so many connections at most, those whose TLS handshake is under way included.

asyncio's own servers know of a connection only after its handshake, and of no bound.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import sys
from contextlib import suppress
from typing import cast

from aiohttp import web

from core.errors import TooManyCallsError
from core.runtime.tasks import start
from gateway.failures import refusal

LOG = logging.getLogger(__name__)
# More would only wait, each with up to a body in memory.
MAX_CONNECTIONS = 1000
HANDSHAKE_SECONDS = 5.0
# For a client that does not read its answer: the system closes the connection then.
UNREAD_MILLISECONDS = 75_000
# So many at a time are told why they are refused, and for so long; the others are only closed.
MAX_REFUSALS = 100
REFUSAL_SECONDS = 1.0
# When the system has no socket left to give.
PAUSE_SECONDS = 0.1
_BACKLOG = 128
# A name may stand for more than the machine has, such as ::1 of localhost where IPv6 is off.
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class Listener:
    """Accepts connections at every address of a name, and hands them to an HTTP server."""

    def __init__(self, server: web.Server, tls: ssl.SSLContext | None) -> None:
        """Accept for the server; tls: for HTTPS, None for HTTP."""
        self._server = server
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._refusing: set[asyncio.Task[None]] = set()
        self._is_full = False
        self._refusal = _refusal()

    def start(self, bind: str, port: int, *, shared: bool = False) -> int:
        """Listen and return the port, a free one for 0; shared: other processes may listen there.

        Raises OSError if that cannot be.
        """
        found = socket.getaddrinfo(bind.strip("[]"), port, type=socket.SOCK_STREAM)
        absent = None
        for family, address in dict.fromkeys((info[0], info[4]) for info in found):
            try:
                listening = socket.create_server(
                    address, family=family, backlog=_BACKLOG, reuse_port=shared
                )
            except OSError as error:
                if error.errno not in _ABSENT:
                    self.close()
                    raise
                absent = error
            else:
                listening.setblocking(False)
                self._sockets.append(listening)
        if absent is not None and not self._sockets:
            raise absent
        for each in self._sockets:
            self._resume(each)
        return int(self._sockets[0].getsockname()[1])

    def close(self) -> None:
        """Accept no more connections, after those that clients think are open already."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            self._accept(listening)
            listening.close()

    @property
    def count(self) -> int:
        """How many connections there are, those whose TLS handshake is under way included."""
        return len(self._server.connections) + len(self._connecting)

    def abort(self) -> None:
        """Close the connections that have not reached the server."""
        for task in (*self._connecting, *self._refusing):
            task.cancel()

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Accept the connections that wait."""
        while True:
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                LOG.warning("no connection can be accepted: %s", error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(PAUSE_SECONDS, self._resume, listening)
                return
            connection.setblocking(False)
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        was_full, self._is_full = self._is_full, self.count >= MAX_CONNECTIONS
        if not self._is_full:
            start(self._connect(connection), self._connecting)
            return
        if not was_full:
            LOG.warning("there are %d connections to a port: more are refused", self.count)
        if self._tls is None and len(self._refusing) < MAX_REFUSALS:
            start(self._refuse(connection), self._refusing)
        else:
            connection.close()

    async def _connect(self, connection: socket.socket) -> None:
        # What fails here is the client's: it went away, or did not speak TLS in time.
        with suppress(OSError):
            if sys.platform == "linux":
                option = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
                connection.setsockopt(*option)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._server,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )

    async def _refuse(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection, suppress(OSError, TimeoutError):
            async with asyncio.timeout(REFUSAL_SECONDS):
                await loop.sock_sendall(connection, self._refusal)
                connection.shutdown(socket.SHUT_WR)
                # To close with something unread would take the answer back.
                while await loop.sock_recv(connection, 1 << 16):
                    pass


def _refusal() -> bytes:
    response = refusal(TooManyCallsError())
    body = cast("bytes", response.body)
    headers = {**response.headers, "Content-Length": len(body), "Connection": "close"}
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
