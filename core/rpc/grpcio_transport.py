"""grpcio's own server, which carries the calls by default."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_status import rpc_status

from core.auth.addresses import peer_address
from core.auth.call_context import UNKNOWN_CALLER, Metadata
from core.errors import FanfareError
from core.rpc.call_metrics import CANCELLED, DEADLINE_EXCEEDED, GRPC_METRICS, OK
from core.rpc.calls import Calls
from core.rpc.error_status import to_status
from core.rpc.handlers import Handlers, MethodHandler
from core.rpc.introspection import Introspection
from core.rpc.server import DRAIN_SECONDS
from core.rpc.server_options import server_options
from core.rpc.sockets import stop_listening
from core.rpc.stream_handler import StreamHandler
from core.rpc.tls import Certificates
from core.runtime.call_metrics import CallMetrics, SentMessages
from core.runtime.tasks import cancel, start
from core.settings import host_and_port

LOG = logging.getLogger(__name__)
# How often to check that grpc's server is still running.
LOOK_SECONDS = 0.2

_GrpcContext = grpc.aio.ServicerContext[Any, Any]


class GrpcioTransport:
    """Serves all methods by grpc.aio.Server, and opens another one when it stops by itself."""

    # The task of a call ends after its answer has been sent.
    sending_seconds = 0.0

    def __init__(
        self,
        handlers: Handlers,
        introspection: Introspection,
        certificates: Certificates | None,
        *,
        shared: bool,
    ) -> None:
        """Prepare to serve.

        Args:
            handlers: the methods.
            introspection: answers beside them.
            certificates: the certificates for TLS; None where it is off.
            shared: whether other processes may listen on the port too.
        """
        self._calls = handlers.calls
        self._streams = handlers.streams
        self._generic_handlers = [_generic_handler(each, handlers) for each in handlers.services]
        self._introspection = introspection
        self._certificates = certificates
        self._options = server_options(shared=shared, tls=certificates is not None)
        self._port = 0
        self._server: grpc.aio.Server | None = None
        self._keeping_open: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def open(self, bind: str, port: int) -> int:
        """Listen and serve calls; return the port. Raises OSError if that is not possible."""
        self._server, self._port = await self._open(bind, port)
        self._keeping_open = asyncio.create_task(self._keep_open(bind, self._server))
        return self._port

    async def stop_listening(self) -> None:
        """Free the port. Connections go on."""
        if self._keeping_open is not None:
            await cancel(self._keeping_open)
        stop_listening(self._port)

    async def close(self) -> None:
        """Release everything. Calls that are still under way are cut off."""
        if self._server is not None:
            await asyncio.gather(self._server.stop(None), *self._ending)

    async def _open(self, bind: str, port: int) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(options=self._options)
        server.add_generic_rpc_handlers(self._generic_handlers)
        self._introspection.add_to(server)
        address = host_and_port(bind, port)
        try:
            if self._certificates is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._certificates.server_credentials())
        except RuntimeError as error:
            # grpc does not say why.
            raise OSError(errno.EADDRINUSE, "in use") from error
        await server.start()
        return server, port

    async def _keep_open(self, bind: str, server: grpc.aio.Server) -> None:
        """Open the port again whenever grpc's server has stopped by itself.

        It stops when an error occurs in its own code, as for a path that is not UTF-8. Calls that
        are under way go on, but it accepts no new ones.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # wait_for_termination() would wait for the client that made the server fail.
            if server._server.is_running():  # type: ignore[attr-defined]  # noqa: SLF001
                continue
            LOG.error("gRPC server stopped unexpectedly; reopening its port port=%d", self._port)
            try:
                opened, _ = await self._open(bind, self._port)
            except Exception:
                LOG.exception("cannot reopen the port yet port=%d", self._port)
                continue
            start(self._end(server), self._ending)
            server = self._server = opened

    async def _end(self, server: grpc.aio.Server) -> None:
        """Let the calls of a server that has stopped by itself finish, then release the server.

        Streams end first, since they would not finish; their clients open them again.
        Otherwise it would keep its memory, and each connection until the client closes it.
        """
        self._streams.end_all()
        until = time.monotonic() + DRAIN_SECONDS
        # Streams are told why they end by then.
        await asyncio.sleep(LOOK_SECONDS)
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


def _outcome_of_cancelled(context: _GrpcContext) -> int:
    """Return whether a call was cancelled by its deadline or by its client."""
    seconds_left = context.time_remaining()
    return DEADLINE_EXCEEDED if seconds_left is not None and seconds_left <= 0 else CANCELLED


def _generic_handler(service: ServiceDescriptor, handlers: Handlers) -> grpc.GenericRpcHandler:
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        handler, metrics = handlers.of(method), GRPC_METRICS.of_method(method)
        if isinstance(handler, StreamHandler):
            stream = _grpc_stream(handler, handlers.calls, metrics)
            methods[method.name] = grpc.unary_stream_rpc_method_handler(stream)
        else:
            unary = _grpc_method(handler, handlers.calls, metrics)
            methods[method.name] = grpc.unary_unary_rpc_method_handler(unary)
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _grpc_method(
    handler: MethodHandler, calls: Calls, metrics: CallMetrics
) -> Callable[[bytes, _GrpcContext], Awaitable[bytes]]:
    """Return the function that grpc calls; it refuses a call above the limit without parsing it."""

    async def handle(request: bytes, context: _GrpcContext) -> bytes:
        began = metrics.begin()
        outcome = OK
        try:
            calls.enter_grpc(context)
            return await handler.answer_bytes(request, _CallContext(context))
        except FanfareError as error:
            status = to_status(error)
            outcome = status.code
        except asyncio.CancelledError:
            outcome = _outcome_of_cancelled(context)
            raise
        finally:
            metrics.end(began, outcome)
        await context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError

    return handle


def _grpc_stream(
    handler: StreamHandler, calls: Calls, metrics: CallMetrics
) -> Callable[[bytes, _GrpcContext], Awaitable[None]]:
    """Return the function that grpc calls for a method that answers with a stream."""

    async def handle(request: bytes, context: _GrpcContext) -> None:
        async def send(response: bytes) -> None:
            # Returns when HTTP/2's flow control has let the response pass, so a client that does
            # not read holds up its stream, and nothing piles up here.
            await context.write(response)
            sent.add()

        began = metrics.begin()
        sent = SentMessages(metrics, began)
        outcome = OK
        status = None
        try:
            calls.enter_grpc_stream(context)
            await handler.send(request, _CallContext(context), send)
        except FanfareError as error:
            status = to_status(error)
            outcome = status.code
        except asyncio.CancelledError:
            outcome = _outcome_of_cancelled(context)
            raise
        finally:
            metrics.end(began, outcome)
        if status is not None:
            await context.abort_with_status(rpc_status.to_status(status))

    return handle
