"""A gRPC server for tests, with methods that answer with the empty message."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from core.auth.authorizer import Authorizer
from core.auth.call_context import Context
from core.auth.rate_limits import RateLimiter
from core.rpc.handlers import Handlers
from core.rpc.server import GrpcServer
from core.rpc.server_choice import grpc_server
from core.rpc.streams import Streams
from core.rpc.tls import Certificates
from core.settings import GrpcServerKind

WRITE = write_pb2.DESCRIPTOR.services_by_name["WriteService"]
# The server of tests that do not choose one; and those with which some tests run.
GRPC_SERVER = GrpcServerKind(os.environ.get("FANFARE_GRPC_SERVER", GrpcServerKind.GRPCIO))
GRPC_SERVERS = [GRPC_SERVER] if "FANFARE_GRPC_SERVER" in os.environ else list(GrpcServerKind)
READ = read_pb2.DESCRIPTOR.services_by_name["ReadService"]


STREAMS = {method.name for method in READ.methods if method.server_streaming}


class Silent:
    """Has every method, each of which answers with the empty message, or with an empty stream."""

    def __getattr__(self, name: str) -> object:
        return self._stream if name in STREAMS else self._answer

    async def _answer(self, _request: Message, _context: Context) -> bytes:
        return b""

    async def _stream(self, _request: Message, _context: Context) -> AsyncGenerator[bytes, None]:
        nothing: tuple[bytes, ...] = ()
        for event in nothing:
            yield event


class Watched:
    """A ReadService whose watches send what a test says, and whose other methods are Silent's."""

    def __init__(self, *events: bytes) -> None:
        """Send these events and then, unless `error` is set, nothing more."""
        self._events = events
        self.error: Exception | None = None
        self.contexts: list[Context] = []
        self.waiting = asyncio.Semaphore(0)
        """Is released when a watch has sent all its events."""
        self.closed = asyncio.Semaphore(0)
        """Is released when a watch has ended."""
        self.sent = 0
        """How many events were asked for."""

    def __getattr__(self, name: str) -> object:
        return getattr(Silent(), name)

    async def WatchHomeTimeline(  # noqa: N802 - the contract's name
        self, _request: Message, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Send the events."""
        self.contexts.append(context)
        try:
            for event in self._events:
                self.sent += 1
                yield event
            if self.error is not None:
                raise self.error
            self.waiting.release()
            await asyncio.Event().wait()
        finally:
            self.closed.release()


class Unlimited(RateLimiter):
    """A rate limiter that allows every call."""

    def __init__(self) -> None:
        """Count nothing."""

    async def take(self, method: str, caller: str, per_minute: int, cost: int = 1) -> None:
        """Allow the call."""


@asynccontextmanager
async def serving(
    *descriptors: ServiceDescriptor,
    servicer: object | None = None,
    authorizer: Authorizer | None = None,
    certificates: Certificates | None = None,
    streams: Streams | None = None,
) -> AsyncIterator[GrpcServer]:
    """Yield a server of these services on a free port; servicer: Silent by default."""
    handlers = Handlers(authorizer, streams=streams)
    for descriptor in descriptors:
        handlers.add_service(descriptor, servicer or Silent())
    kind = GRPC_SERVER if certificates is None else GrpcServerKind.GRPCIO  # the other has no TLS
    server = grpc_server(kind, "127.0.0.1", 0, handlers, certificates)
    await server.start()
    try:
        yield server
    finally:
        await server.drain()


class Held:
    """A ReadService whose calls wait until they are released."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.release = asyncio.Event()

    def __getattr__(self, _name: str) -> Callable[[Any, Context], Awaitable[bytes]]:
        return self._answer

    async def _answer(self, _request: Any, _context: Context) -> bytes:
        self.entered.release()
        await self.release.wait()
        return b""
