"""The gRPC service behind a port of the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
from fanfare.errors.v1.errors_pb2 import ErrorReason
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from core.auth.authorizer import AUTHENTICATION
from core.rpc.tls import CHANNEL_OPTIONS, Certificates, Files
from core.runtime.tasks import start

CALL_SECONDS = 10.0
# A call that a stopping process has refused waits this long for another process.
MOVE_SECONDS = 5.0
HEALTH_SECONDS = 1.0
_STOPPING = ErrorReason.Name(ErrorReason.ERROR_REASON_SHUTTING_DOWN).removeprefix("ERROR_REASON_")

# The request, and what the service is told of who sends it.
Call = Callable[[Message, Sequence[tuple[str, str]]], Awaitable[Message]]

_OPTIONS = [
    *CHANNEL_OPTIONS,
    # A page of 1,000 tweets is over grpc's default of 4 MiB at its largest.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # Each channel makes its own connection. Else another channel to the same target would use the
    # connection to the process that is stopping.
    ("grpc.use_local_subchannel_pool", 1),
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
        self._moving: asyncio.Task[None] | None = None

    def call(self, method: MethodDescriptor) -> Call:
        """Return a method as a coroutine function; it raises grpc.aio.AioRpcError.

        A cancelled call is cancelled at the service too, and one of over CALL_SECONDS fails. A call
        that was refused because its process is stopping is made again, over another connection.
        """
        made: list[tuple[grpc.aio.Channel, Any]] = []

        async def call(request: Message, metadata: Sequence[tuple[str, str]]) -> Message:
            until = time.monotonic() + MOVE_SECONDS
            while True:
                if self._moving is not None:
                    await asyncio.wait([self._moving])
                channel = self._current()
                if not made or made[0][0] is not channel:
                    made[:] = [(channel, _multicallable(channel, method))]
                try:
                    response: Message = await made[0][1](
                        request, metadata=metadata, timeout=CALL_SECONDS
                    )
                except grpc.aio.AioRpcError as error:
                    if not _is_stopping(error) or time.monotonic() > until:
                        raise
                    self._leave(channel)
                else:
                    return response

        return call

    def _leave(self, channel: grpc.aio.Channel) -> None:
        """Have calls wait for another connection than this channel's."""
        if channel is not self._channel:
            return  # a call that was refused earlier has done it
        self._replace_channel()
        self._moving = asyncio.create_task(self._move(self._channel))

    async def _move(self, channel: grpc.aio.Channel) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(MOVE_SECONDS):
                await channel.channel_ready()
        self._moving = None

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
            self._replace_channel()
        return self._channel

    def _replace_channel(self) -> None:
        # Calls under way finish on the one before.
        start(self._channel.close(CALL_SECONDS), self._closing)
        self._channel = self._open()

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


def _is_stopping(error: grpc.aio.AioRpcError) -> bool:
    """Return whether a process refused the call because it is stopping, and did nothing."""
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return False
    info = ErrorInfo()
    try:
        # The stubs ask for a Call, of which an AioRpcError has all that is used.
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        details = status.details if status is not None else ()
        return any(detail.Unpack(info) and info.reason == _STOPPING for detail in details)
    except (ValueError, DecodeError):
        return False


def _multicallable(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    return channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
