"""The gRPC service behind a port of the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

CALL_SECONDS = 10.0
HEALTH_SECONDS = 1.0

# The request, and what the service is told of who sends it.
Call = Callable[[Message, Sequence[tuple[str, str]]], Awaitable[Message]]

_OPTIONS = [
    # A page of 1,000 tweets is over grpc's default of 4 MiB at its largest.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # By default grpc leaves a service that was away for a while alone for two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class Service:
    """Calls the gRPC services of one process; a lost connection comes back by itself."""

    def __init__(self, target: str, *descriptors: ServiceDescriptor) -> None:
        self.descriptors = descriptors
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def call(self, method: MethodDescriptor) -> Call:
        """Return a method as a coroutine function; it raises grpc.aio.AioRpcError.

        A cancelled call is cancelled at the service too, and one of over CALL_SECONDS fails.
        """
        multicallable: Any = self._channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

        async def call(request: Message, metadata: Sequence[tuple[str, str]]) -> Message:
            response: Message = await multicallable(
                request, metadata=metadata, timeout=CALL_SECONDS
            )
            return response

        return call

    async def is_serving(self) -> bool:
        """Return whether the service answers that it is SERVING, within HEALTH_SECONDS."""
        request = health_pb2.HealthCheckRequest(service=self.descriptors[0].full_name)
        try:
            answer = await self._health.Check(request, timeout=HEALTH_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()
