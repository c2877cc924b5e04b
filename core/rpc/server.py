"""The gRPC server of every process: validation, errors, health, reflection, drain."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import protovalidate
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from core.auth.authorizer import AUTHENTICATION, Authorizer, Check, Peer
from core.errors import (
    FanfareError,
    InternalError,
    InvalidRequestError,
    MalformedRequestError,
    MethodNotFoundError,
    to_status,
)
from core.rpc.calls import Calls
from core.rpc.sockets import connections, stop_listening
from core.rpc.tls import Certificates
from core.runtime.process import StartError
from core.runtime.tasks import start

LOG = logging.getLogger(__name__)
# Maximum duration of a drain. Calls that take longer are cut off.
DRAIN_SECONDS = 10.0
# During a drain: a connection is closed this long after its first call was refused, by when its
# client has read so and stopped using it.
REFUSED_SECONDS = 0.1
# A connection without any call is closed after this time. The longer it is, the less likely is a
# call that crosses with the end of its connection, and whose outcome its client cannot know.
SILENT_SECONDS = 1.0
DRAIN_POLL_SECONDS = 0.02
# Ping clients so often, and give up a connection whose client does not answer.
KEEPALIVE_SECONDS = 10.0
KEEPALIVE_TIMEOUT_SECONDS = 5.0
# Clients may send pings this often, also without calls. More of them end the connection.
CLIENT_PING_SECONDS = 5.0
# With TLS: how long a connection may go on with a certificate that a new one would not be made by.
CONNECTION_SECONDS = 600.0
# How long a port may be closed that grpc has given up.
LOOK_SECONDS = 0.2
# To find each of a million broken rules would take minutes: of a larger request the first is told.
DETAILED_BYTES = 2048
# The most that are told: more would not fit the trailers.
MAX_VIOLATIONS = 20

Context = grpc.aio.ServicerContext[Any, Any]
# A method may answer with the serialised message itself.
Method = Callable[[Any, Context], Awaitable[Message | bytes]]


class Server:
    """A gRPC server with health and reflection, for any number of services (also for none)."""

    def __init__(
        self,
        bind: str,
        port: int,
        authorizer: Authorizer | None = None,
        certificates: Certificates | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """Prepare a server at the port.

        Args:
            authorizer: enforces who may call what; None where authentication is off.
            certificates: of TLS; None where it is off.
            shared: whether other processes may listen on the port too.
        """
        # Else one process a port: a second one must fail at once instead of sharing it unnoticed.
        self._options = [
            ("grpc.so_reuseport", int(shared)),
            ("grpc.keepalive_time_ms", int(KEEPALIVE_SECONDS * 1000)),
            ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
            # Of the two the one that counts: by default a minute, whatever the keepalive's is.
            ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", int(CLIENT_PING_SECONDS * 1000)),
        ]
        if certificates is not None:
            self._options += [
                ("grpc.max_connection_age_ms", int(CONNECTION_SECONDS * 1000)),
                ("grpc.max_connection_age_grace_ms", int(DRAIN_SECONDS * 1000)),
            ]
        self._server: grpc.aio.Server | None = None
        self._keeping_open: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._health = health.aio.HealthServicer()
        self._authorizer = authorizer
        self._certificates = certificates
        self._calls = Calls()
        self._services = [health.SERVICE_NAME]
        self._parts: list[str] = []
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._bind = bind
        self.port = port

    def add_service(self, descriptor: ServiceDescriptor, servicer: object) -> None:
        """Serve each method of the descriptor by the servicer's method of the same name."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            method.name: grpc.unary_unary_rpc_method_handler(
                guard(
                    GetMessageClass(method.input_type),
                    self._authorizer.check(method) if self._authorizer else None,
                    getattr(servicer, method.name),
                    self._calls,
                )
            )
            for method in descriptor.methods
        }
        self._services.append(descriptor.full_name)
        self._handlers.append(grpc.method_handlers_generic_handler(descriptor.full_name, handlers))

    def add_part(self, name: str) -> None:
        """Report the health of a part of the process too, under a name that is no service's.

        It is SERVING from the start on, and set_serving(part=name) alone changes that.
        """
        self._parts.append(name)

    async def start(self) -> None:
        """Listen, and report SERVING for every service. Raises StartError if the port is taken."""
        self._server = await self._open()
        self._keeping_open = asyncio.create_task(self._keep_open(self._server))
        for part in ("", *self._parts):
            await self.set_serving(serving=True, part=part)
        LOG.info("serving on port %d", self.port)

    async def set_serving(self, *, serving: bool, part: str = "") -> None:
        """Report SERVING or NOT_SERVING for every service, or for one of the parts alone."""
        answer = health_pb2.HealthCheckResponse
        asking = [AUTHENTICATION] if self._authorizer is not None else []
        for name in [part] if part else ["", *self._services, *asking]:
            await self._health.set(name, answer.SERVING if serving else answer.NOT_SERVING)

    async def drain(self) -> None:
        """Free the port, refuse new calls, let those under way finish, and close all connections.

        Health reports NOT_SERVING. New calls get ShuttingDownError, which says that nothing was
        done. Takes DRAIN_SECONDS at most.
        """
        for part in ("", *self._parts):
            await self.set_serving(serving=False, part=part)
        if self._keeping_open is None or self._server is None:
            return
        self._keeping_open.cancel()
        await asyncio.wait([self._keeping_open])
        # In this order: a client that is refused opens another connection, which must reach
        # another process.
        stop_listening(self.port)
        self._calls.refuse()
        LOG.info("draining port=%d calls=%d", self.port, self._calls.under_way)
        await self._close_connections()
        await asyncio.gather(self._server.stop(None), *self._ending)

    async def _close_connections(self) -> None:
        """Close each connection once its calls are answered and its client has been told.

        grpc's own stop() cannot do this: calls that arrive until clients have read its GOAWAY get
        the status CANCELLED without details, which clients do not retry.
        """
        began = time.monotonic()
        while (now := time.monotonic()) < began + DRAIN_SECONDS:
            if not self._close_quiet_connections(began, now):
                return
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        LOG.warning("drain timed out port=%d calls=%d", self.port, self._calls.under_way)
        for _, connection in connections(self.port):
            connection.shutdown(socket.SHUT_RDWR)

    def _close_quiet_connections(self, began: float, now: float) -> int:
        """Return how many connections there were."""
        count = 0
        busy = self._calls.ports()
        refused_at = self._calls.refused_at
        for port, connection in connections(self.port):
            count += 1
            is_due = now >= refused_at.get(port, began + SILENT_SECONDS) + REFUSED_SECONDS
            if is_due and port not in busy:
                with suppress(OSError):  # the client has just closed it
                    connection.shutdown(socket.SHUT_RDWR)
        return count

    async def _open(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*self._services, reflection.SERVICE_NAME], server)
        server.add_generic_rpc_handlers((*self._handlers, _UnknownMethod()))
        address = f"{self._bind}:{self.port}"
        try:
            if self._certificates is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, self._certificates.server_credentials())
        except RuntimeError as error:
            raise StartError(
                f"cannot listen on {address}: another process has the port, or the address "
                "is not this machine's; stop the other, or set another port."
            ) from error
        await server.start()
        return server

    async def _keep_open(self, server: grpc.aio.Server) -> None:
        """Open the port again whenever grpc has given it up.

        grpc's server ends when its own code fails, as it does for a path that is not UTF-8. Calls
        that it has begun go on, but it takes no others.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # Not by wait_for_termination(), which waits for the very client that did it.
            if server._server.is_running():  # type: ignore[attr-defined]  # noqa: SLF001
                continue
            LOG.error("grpc has given up port %d by a failure of its own: opening it", self.port)
            try:
                opened = await self._open()
            except Exception:
                LOG.exception("port %d cannot be opened now", self.port)
                continue
            start(self._end(server), self._ending)
            server = self._server = opened

    async def _end(self, server: grpc.aio.Server) -> None:
        """Let the calls of a server that grpc has given up finish, and end it.

        By itself it would keep its memory, and connections that are not closed at the other end.
        """
        until = time.monotonic() + DRAIN_SECONDS
        while self._calls.under_way and time.monotonic() < until:  # noqa: ASYNC110 - counted for each call
            await asyncio.sleep(LOOK_SECONDS)
        # Not by a grace of its own, with which grpc crashes where several servers end.
        await server.stop(None)


def violations(message: Message, *, only_first: bool = False) -> list[tuple[str, str]]:
    """Return what breaks the contract's rules: pairs of field path and what it must be.

    At most MAX_VIOLATIONS of them; only_first: look for no more than one.
    """
    found = []
    broken = protovalidate.collect_violations(message, fail_fast=only_first)
    for violation in broken[:MAX_VIOLATIONS]:
        elements = violation.proto.field.elements if violation.proto.field else []
        path = ".".join(
            f"{e.field_name}[{e.subscript.value}]" if e.subscript else e.field_name
            for e in elements
        )
        found.append((path, violation.proto.message or violation.proto.rule_id))
    return found


def guard(
    request_class: type[Message], check: Check | None, method: Method, calls: Calls
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """Return the method as a handler of bytes.

    It refuses calls above the limit before it parses them, validates requests, checks who calls,
    and translates errors.
    """

    async def handle(request: bytes, context: Context) -> bytes:
        try:
            calls.enter(context)
            message = _parse(request_class, request)
            if check is not None:
                await check(message, Peer(context))
            answer = await method(message, context)
            return answer if isinstance(answer, bytes) else answer.SerializeToString()
        except FanfareError as error:
            status = to_status(error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception:
            LOG.exception("%s failed", request_class.DESCRIPTOR.full_name)
            status = to_status(InternalError())
        await context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError

    return handle


def _parse(request_class: type[Message], request: bytes) -> Message:
    # Parsed by us, because what grpc itself cannot parse it calls INTERNAL.
    try:
        message = request_class.FromString(request)
    except DecodeError:
        name = request_class.DESCRIPTOR.full_name
        raise MalformedRequestError(
            f"the request is not a {name}: check that the client uses this contract"
        ) from None
    if found := violations(message, only_first=len(request) > DETAILED_BYTES):
        raise InvalidRequestError(found)
    return message


class _UnknownMethod(grpc.GenericRpcHandler):
    """Answers what no service has, with the details that every error carries."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return a handler that fails the call, whatever it sends."""
        error = MethodNotFoundError(f"there is no method {handler_call_details.method}")

        async def handle(_request: bytes, context: Context) -> bytes:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(handle)
