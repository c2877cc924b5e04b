"""A listening port with a limit on its connections, including those still in their TLS handshake.

asyncio's own servers do not limit connections, and learn of one only after its handshake.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web
from aiohttp.http import HttpVersion11

from core.errors import TooManyCallsError
from core.runtime.ports import explain_bind_error
from core.runtime.process import StartError
from core.runtime.tasks import start
from gateway.answers import Answer
from gateway.failures import error_answer
from gateway.response_headers import fixed_lines

LOG = logging.getLogger(__name__)
# Maximum connections per port, without those that carry a stream. Each may hold a request body in
# memory.
MAX_CONNECTIONS = 1000
HANDSHAKE_SECONDS = 5.0
# The kernel closes a connection when data has waited this long for the client to read it.
UNREAD_MILLISECONDS = 75_000
# A connection above the limit gets an answer with the reason, which may take REFUSAL_SECONDS. It is
# closed without an answer if MAX_REFUSALS are being answered already, or if the port uses TLS.
MAX_REFUSALS = 100
REFUSAL_SECONDS = 1.0
# How long to wait before accepting again after accept() failed: file descriptors may be used up.
PAUSE_SECONDS = 0.1
_BACKLOG = 128
# A name may resolve to addresses that this machine lacks, such as ::1 where IPv6 is off.
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class Listener:
    """Accepts connections at every address of a host name, and hands them to an HTTP server."""

    def __init__(
        self,
        bind: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        *,
        shared: bool = False,
        setting: str = "FANFARE_REST_WRITE_PORT or FANFARE_REST_READ_PORT",
    ) -> None:
        """Prepare to listen.

        Args:
            bind: the host name or address to listen on.
            port: the port to listen on; 0 for any free one, which `port` holds after start().
            tls: the context for HTTPS; None for HTTP.
            shared: whether other processes may listen on the port too.
            setting: which setting chooses the port.
        """
        self._bind = bind
        self._setting = setting
        self.port = port
        self._tls = tls
        self._shared = shared
        self._server: web.Server | None = None
        self._sockets: list[socket.socket] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._refusing: set[asyncio.Task[None]] = set()
        self._streams = 0
        self._is_full = False
        self._refusal = _refusal()

    def start(self, server: web.Server) -> None:
        """Listen, and hand each connection to the server.

        Raises:
            StartError: the port is taken, the address is not this machine's, or the name is of no
                machine.
        """
        self._server = server
        try:
            self._listen()
        except OSError as error:
            cure = f"set {self._setting} to another port"
            raise StartError(explain_bind_error(self._bind, self.port, error, cure)) from error
        for each in self._sockets:
            self._resume(each)
        self.port = int(self._sockets[0].getsockname()[1])

    def _listen(self) -> None:
        found = socket.getaddrinfo(self._bind.strip("[]"), self.port, type=socket.SOCK_STREAM)
        absent = None
        for family, address in dict.fromkeys((info[0], info[4]) for info in found):
            try:
                listening = socket.create_server(
                    address, family=family, backlog=_BACKLOG, reuse_port=self._shared
                )
            except OSError as error:
                if error.errno not in _ABSENT:
                    for each in self._sockets:
                        each.close()
                    self._sockets.clear()
                    raise
                absent = error
            else:
                listening.setblocking(False)
                self._sockets.append(listening)
        if absent is not None and not self._sockets:
            raise absent

    def close(self) -> None:
        """Accept the connections that are already waiting, then stop listening."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            self._accept(listening)
            listening.close()

    @property
    def is_https(self) -> bool:
        """Whether the port speaks TLS."""
        return self._tls is not None

    @property
    def count(self) -> int:
        """The number of connections, including those still in their TLS handshake."""
        served = 0 if self._server is None else len(self._server.connections)
        return served + len(self._connecting)

    @contextmanager
    def carrying_stream(self) -> Iterator[None]:
        """Leave a connection out of the limit while it carries a stream, which has its own limit.

        Otherwise the streams of a port would leave no connections for its calls.
        """
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def abort(self) -> None:
        """Close the connections that have not been handed to the server yet."""
        for task in (*self._connecting, *self._refusing):
            task.cancel()

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Accept all connections that are waiting."""
        while True:
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                LOG.warning("cannot accept connections port=%d error=%s", self.port, error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(PAUSE_SECONDS, self._resume, listening)
                return
            connection.setblocking(False)
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        was_full, self._is_full = self._is_full, self.count - self._streams >= MAX_CONNECTIONS
        if not self._is_full:
            start(self._connect(connection), self._connecting)
            return
        if not was_full:
            LOG.warning(
                "connection limit reached; refusing more port=%d connections=%d",
                self.port,
                self.count,
            )
        if self._tls is None and len(self._refusing) < MAX_REFUSALS:
            start(self._refuse(connection), self._refusing)
        else:
            connection.close()

    async def _connect(self, connection: socket.socket) -> None:
        assert self._server is not None  # noqa: S101 - connections come after start()
        # Failures here are the client's: it left, or did not finish the handshake in time.
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
        refusal = self._refusal.head(HttpVersion11) + self._refusal.body
        with connection, suppress(OSError, TimeoutError):
            async with asyncio.timeout(REFUSAL_SECONDS):
                await loop.sock_sendall(connection, refusal)
                connection.shutdown(socket.SHUT_WR)
                # Closing a socket with unread data would discard the answer.
                while await loop.sock_recv(connection, 1 << 16):
                    pass


def _refusal() -> Answer:
    answer = error_answer(TooManyCallsError())
    # Only ports without TLS answer connections above the limit.
    answer.fixed_lines = fixed_lines(is_https=False)
    answer.keep_alive = False
    return answer
