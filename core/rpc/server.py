"""The gRPC server of every process: health, and the drain.

What carries the calls is a transport: grpcio's own server, or a native one. Both call the same
handlers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import suppress
from typing import Protocol

from core.rpc.handlers import Handlers
from core.rpc.introspection import Introspection
from core.rpc.sockets import connections
from core.runtime.ports import bind_error, explain_bind_error
from core.runtime.process import StartError

LOG = logging.getLogger(__name__)
# Maximum duration of a drain. Calls that take longer are cut off.
DRAIN_SECONDS = 10.0
# During a drain, a connection is closed this long after its first refused call. By then its client
# has read the refusal and stopped using the connection.
REFUSED_SECONDS = 0.1
# During a drain, a connection without calls or refusals is closed after SILENT_SECONDS plus
# REFUSED_SECONDS. The longer this is, the less likely it is that a call arrives just as its
# connection closes, and gets no answer.
SILENT_SECONDS = 1.0
DRAIN_POLL_SECONDS = 0.02
OTHER_PORT = "set FANFARE_WRITE_PORT, FANFARE_READ_PORT or FANFARE_WORKER_PORT to another port"


class Transport(Protocol):
    """Carries calls between clients and the handlers."""

    sending_seconds: float
    """How long an answer may take to be sent after its call has ended."""

    async def open(self, bind: str, port: int) -> int:
        """Listen and serve calls; return the port. Raises OSError if that is not possible.

        Args:
            bind: the address to listen on.
            port: the port to listen on; 0 for any free one.
        """

    async def stop_listening(self) -> None:
        """Free the port. Connections go on."""

    async def close(self) -> None:
        """Release everything. Calls that are still under way are cut off."""


class GrpcServer:
    """A gRPC server with health and reflection, for any number of services, even none."""

    def __init__(
        self,
        bind: str,
        port: int,
        transport: Transport,
        introspection: Introspection,
        handlers: Handlers,
    ) -> None:
        """Prepare a server.

        Args:
            bind: the address to listen on.
            port: the port to listen on; 0 for any free one, which `port` holds after start().
            transport: carries the calls.
            introspection: reports the health of the services.
            handlers: they count the calls under way, over gRPC and REST.
        """
        self._bind = bind
        self.port = port
        self._transport = transport
        self._introspection = introspection
        self._calls = handlers.calls
        self._streams = handlers.streams
        self._parts: list[str] = []
        self._is_open = False

    def add_part(self, name: str) -> None:
        """Also report the health of a part of the process, under a name that no service has.

        The part is SERVING after start(), until set_serving(part=name) or drain() changes that.
        """
        self._parts.append(name)

    async def start(self) -> None:
        """Listen, and report SERVING for every service.

        Raises:
            StartError: the port is taken.
        """
        try:
            self.port = await self._transport.open(self._bind, self.port)
        except OSError as error:
            reason = bind_error(self._bind, self.port) or error
            raise StartError(
                explain_bind_error(self._bind, self.port, reason, OTHER_PORT)
            ) from error
        self._is_open = True
        for part in ("", *self._parts):
            await self.set_serving(serving=True, part=part)
        LOG.info("serving gRPC port=%d", self.port)

    def is_serving(self) -> bool:
        """Return whether health reports SERVING for the services."""
        return self._introspection.is_serving

    async def set_serving(self, *, serving: bool, part: str = "") -> None:
        """Report SERVING or NOT_SERVING, for every service or for one of the parts alone."""
        await self._introspection.set_serving(serving=serving, part=part)

    async def drain(self) -> None:
        """Free the port, refuse new calls, let those under way finish, and close all connections.

        Streams end at once, and their clients open them again at another process.
        Health reports NOT_SERVING. New calls get ShuttingDownError, which says that nothing was
        done. It takes DRAIN_SECONDS at most, and does nothing if the server was not started.
        """
        for part in ("", *self._parts):
            await self.set_serving(serving=False, part=part)
        if not self._is_open:
            return
        # Free the port before refusing calls: a client that is refused reconnects, and must then
        # reach another process.
        await self._transport.stop_listening()
        self._calls.refuse_grpc()
        # Streams would not end by themselves.
        self._streams.close()
        LOG.info("draining port=%d calls=%d", self.port, self._calls.grpc_count)
        await self._close_connections()
        await self._transport.close()

    async def _close_connections(self) -> None:
        """Close each connection once its calls are answered and its client has stopped using it.

        grpc's own stop() cannot do this: it answers CANCELLED, which clients do not retry, to calls
        that arrive before the clients have read its GOAWAY.
        """
        began = time.monotonic()
        while (now := time.monotonic()) < began + DRAIN_SECONDS:
            if not self._close_quiet_connections(began, now):
                return
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        LOG.warning("drain timed out port=%d calls=%d", self.port, self._calls.grpc_count)
        for _, connection in connections(self.port):
            connection.shutdown(socket.SHUT_RDWR)

    def _close_quiet_connections(self, began: float, now: float) -> int:
        """Close the connections that are due; return how many were open before.

        Args:
            began: when the drain began, in time.monotonic() seconds.
            now: the current time.monotonic().
        """
        count = 0
        busy = self._calls.ports()
        refused_at, ended_at = self._calls.refused_at, self._calls.ended_at
        for port, connection in connections(self.port):
            count += 1
            quiet_from = refused_at.get(port, began + SILENT_SECONDS) + REFUSED_SECONDS
            sent_by = ended_at.get(port, 0.0) + self._transport.sending_seconds
            if port not in busy and now >= max(quiet_from, sent_by):
                with suppress(OSError):  # the client may have closed it
                    connection.shutdown(socket.SHUT_RDWR)
        return count
