"""The gRPC server of every process: method handlers, health, reflection, drain."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from core.auth.addresses import peer_address
from core.auth.authorizer import AUTHENTICATION
from core.auth.call_context import UNKNOWN_CALLER, Metadata
from core.errors import FanfareError, MethodNotFoundError
from core.rpc.calls import Calls
from core.rpc.error_status import to_status
from core.rpc.handlers import Handlers, MethodHandler
from core.rpc.server_options import server_options
from core.rpc.sockets import connections, stop_listening
from core.rpc.tls import Certificates
from core.runtime.ports import bind_error, explain_bind_error
from core.runtime.process import StartError
from core.runtime.tasks import start
from core.settings import host_and_port

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
# How often to check that grpc's server is still running.
LOOK_SECONDS = 0.2

_GrpcContext = grpc.aio.ServicerContext[Any, Any]


class GrpcServer:
    """A gRPC server with health and reflection, for any number of services, even none."""

    def __init__(
        self,
        bind: str,
        port: int,
        handlers: Handlers,
        certificates: Certificates | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """Prepare a server.

        Args:
            bind: the address to listen on.
            port: the port to listen on; 0 for any free one, which `port` holds after start().
            handlers: the methods to serve.
            certificates: the certificates for TLS; None where it is off.
            shared: whether other processes may listen on the port too.
        """
        self._options = server_options(shared=shared, tls=certificates is not None)
        self._server: grpc.aio.Server | None = None
        self._keeping_open: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._health = health.aio.HealthServicer()
        self._is_serving = False
        self._certificates = certificates
        self._calls = handlers.calls
        self._generic_handlers = [_generic_handler(each, handlers) for each in handlers.services]
        self._names = [health.SERVICE_NAME, *(each.full_name for each in handlers.services)]
        self._authentication = [AUTHENTICATION] if handlers.requires_authentication else []
        self._parts: list[str] = []
        self._bind = bind
        self.port = port

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
        self._server = await self._open()
        self._keeping_open = asyncio.create_task(self._keep_open(self._server))
        for part in ("", *self._parts):
            await self.set_serving(serving=True, part=part)
        LOG.info("serving gRPC port=%d", self.port)

    def is_serving(self) -> bool:
        """Return whether health reports SERVING for the services."""
        return self._is_serving

    async def set_serving(self, *, serving: bool, part: str = "") -> None:
        """Report SERVING or NOT_SERVING, for every service or for one of the parts alone."""
        if not part:
            self._is_serving = serving
        answer = health_pb2.HealthCheckResponse
        for name in [part] if part else ["", *self._names, *self._authentication]:
            await self._health.set(name, answer.SERVING if serving else answer.NOT_SERVING)

    async def drain(self) -> None:
        """Free the port, refuse new calls, let those under way finish, and close all connections.

        Health reports NOT_SERVING. New calls get ShuttingDownError, which says that nothing was
        done. It takes DRAIN_SECONDS at most, and does nothing if the server was not started.
        """
        for part in ("", *self._parts):
            await self.set_serving(serving=False, part=part)
        if self._keeping_open is None or self._server is None:
            return
        self._keeping_open.cancel()
        await asyncio.wait([self._keeping_open])
        # Free the port before refusing calls: a client that is refused reconnects, and must then
        # reach another process.
        stop_listening(self.port)
        self._calls.refuse_grpc()
        LOG.info("draining port=%d calls=%d", self.port, self._calls.grpc_count)
        await self._close_connections()
        await asyncio.gather(self._server.stop(None), *self._ending)

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
        refused_at = self._calls.refused_at
        for port, connection in connections(self.port):
            count += 1
            is_due = now >= refused_at.get(port, began + SILENT_SECONDS) + REFUSED_SECONDS
            if is_due and port not in busy:
                with suppress(OSError):  # the client may have closed it
                    connection.shutdown(socket.SHUT_RDWR)
        return count

    async def _open(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*self._names, reflection.SERVICE_NAME], server)
        server.add_generic_rpc_handlers((*self._generic_handlers, _UnknownMethod()))
        address = host_and_port(self._bind, self.port)
        try:
            if self._certificates is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, self._certificates.server_credentials())
        except RuntimeError as error:
            # grpc does not say why.
            reason = bind_error(self._bind, self.port) or OSError(errno.EADDRINUSE, "in use")
            raise StartError(
                explain_bind_error(self._bind, self.port, reason, OTHER_PORT)
            ) from error
        await server.start()
        return server

    async def _keep_open(self, server: grpc.aio.Server) -> None:
        """Open the port again whenever grpc's server has stopped by itself.

        It stops when an error occurs in its own code, as for a path that is not UTF-8. Calls that
        are under way go on, but it accepts no new ones.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # wait_for_termination() would wait for the client that made the server fail.
            if server._server.is_running():  # type: ignore[attr-defined]  # noqa: SLF001
                continue
            LOG.error("gRPC server stopped unexpectedly; reopening its port port=%d", self.port)
            try:
                opened = await self._open()
            except Exception:
                LOG.exception("cannot reopen the port yet port=%d", self.port)
                continue
            start(self._end(server), self._ending)
            server = self._server = opened

    async def _end(self, server: grpc.aio.Server) -> None:
        """Let the calls of a server that has stopped by itself finish, then release the server.

        Otherwise it would keep its memory, and each connection until the client closes it.
        """
        until = time.monotonic() + DRAIN_SECONDS
        while self._calls.grpc_count and time.monotonic() < until:  # noqa: ASYNC110 - a count
            await asyncio.sleep(LOOK_SECONDS)
        # No grace period: grpc crashes when several servers stop with a grace period.
        await server.stop(None)


class _CallContext:
    """A gRPC call as the authorizer and the method see it; looks up each value when it is read."""

    __slots__ = ("_context", "caller")

    def __init__(self, context: _GrpcContext) -> None:
        self._context = context
        self.caller = UNKNOWN_CALLER

    @property
    def metadata(self) -> Metadata:
        return self._context.invocation_metadata() or ()

    @property
    def address(self) -> str:
        return peer_address(self._context.peer())

    @property
    def certificate_names(self) -> list[str]:
        return [name.decode() for name in self._context.auth_context().get("x509_common_name", ())]


def _generic_handler(service: ServiceDescriptor, handlers: Handlers) -> grpc.GenericRpcHandler:
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _grpc_method(handlers.of(method), handlers.calls)
        )
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _grpc_method(
    handler: MethodHandler, calls: Calls
) -> Callable[[bytes, _GrpcContext], Awaitable[bytes]]:
    """Return the function that grpc calls; it refuses a call above the limit without parsing it."""

    async def handle(request: bytes, context: _GrpcContext) -> bytes:
        try:
            calls.enter_grpc(context)
            return await handler.answer_bytes(request, _CallContext(context))
        except FanfareError as error:
            status = to_status(error)
        await context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError

    return handle


class _UnknownMethod(grpc.GenericRpcHandler):
    """Fails calls of methods that no service has, with ErrorInfo as in every other error."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return a handler that fails the call."""
        error = MethodNotFoundError(f"there is no method {handler_call_details.method}")

        async def handle(_request: bytes, context: _GrpcContext) -> bytes:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(handle)
