"""The gRPC service behind a port of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.access import AUTHENTICATION
from core.tasks import start
from core.tls import CHANNEL_OPTIONS, Certificates, Files

CALL_SECONDS = 10.0
HEALTH_SECONDS = 1.0

# The request, and what the service is told of who sends it.
Call = Callable[[Message, Sequence[tuple[str, str]]], Awaitable[Message]]

_OPTIONS = [
    *CHANNEL_OPTIONS,
    # A page of 1,000 tweets is over grpc's default of 4 MiB at its largest.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
]


class Service:
    """Calls the gRPC services of one process; a lost connection comes back by itself."""

    def __init__(
        self,
        target: str,
        *descriptors: ServiceDescriptor,
        certificates: Certificates | None = None,
    ) -> None:
        """Call the services at the target; certificates: of TLS, None where it is off."""
        self.descriptors = descriptors
        self._target = target
        self._certificates = certificates
        self._files: Files | None = None
        self._channel = self._open()
        self._closing: set[asyncio.Task[None]] = set()

    def call(self, method: MethodDescriptor) -> Call:
        """Return a method as a coroutine function; it raises grpc.aio.AioRpcError.

        A cancelled call is cancelled at the service too, and one of over CALL_SECONDS fails.
        """
        made: list[tuple[grpc.aio.Channel, Any]] = []

        async def call(request: Message, metadata: Sequence[tuple[str, str]]) -> Message:
            channel = self._current()
            if not made or made[0][0] is not channel:
                made[:] = [(channel, _multicallable(channel, method))]
            response: Message = await made[0][1](request, metadata=metadata, timeout=CALL_SECONDS)
            return response

        return call

    def _open(self) -> grpc.aio.Channel:
        if self._certificates is None:
            return grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        self._files = self._certificates.files()
        return grpc.aio.secure_channel(
            self._target, self._files.channel_credentials, options=_OPTIONS
        )

    def _current(self) -> grpc.aio.Channel:
        """Return the channel, another one when the certificates have changed."""
        if self._certificates is not None and self._certificates.files() is not self._files:
            # Calls under way finish on the one before.
            start(self._channel.close(CALL_SECONDS), self._closing)
            self._channel = self._open()
        return self._channel

    async def health(self) -> tuple[bool, str]:
        """Return whether the service is SERVING, and whether it asks callers who they are.

        The latter is on or off, or unknown where it does not answer within HEALTH_SECONDS.
        """
        serving, asking = await asyncio.gather(
            self._check(self.descriptors[0].full_name), self._check(AUTHENTICATION)
        )
        answer = health_pb2.HealthCheckResponse
        authentication = "off" if asking == answer.SERVICE_UNKNOWN else "on"
        return serving == answer.SERVING, "unknown" if asking is None else authentication

    async def _check(self, name: str) -> int | None:
        """Return the status of this name, None without an answer."""
        request = health_pb2.HealthCheckRequest(service=name)
        try:
            health: Any = health_pb2_grpc.HealthStub(self._current())
            answer = await health.Check(request, timeout=HEALTH_SECONDS)
        except grpc.aio.AioRpcError as error:
            is_unknown = error.code() is grpc.StatusCode.NOT_FOUND
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN if is_unknown else None
        return int(answer.status)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()


def _multicallable(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    return channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
