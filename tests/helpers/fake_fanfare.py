"""A Fanfare without servers, for tests of the Python client: grpcio-testing's fake channel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar, cast

import grpc
import grpc_testing
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from fanfare_client.client import Client

_SERVICES = [
    service
    for module in (auth_pb2, read_pb2, write_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
_METHODS = {method.name: method for service in _SERVICES for method in service.methods}
T = TypeVar("T")


def status(
    code: grpc.StatusCode,
    reason: str,
    *,
    domain: str = "fanfare",
    retry: timedelta | None = None,
    **metadata: str,
) -> grpc.Status:
    """Return an error as Fanfare sends it."""
    sent = Status(code=code.value[0], message=f"because of {reason}")
    sent.details.add().Pack(ErrorInfo(reason=reason, domain=domain, metadata=metadata))
    if retry is not None:
        info = RetryInfo()
        info.retry_delay.FromTimedelta(retry)
        sent.details.add().Pack(info)
    return rpc_status.to_status(sent)


@dataclass(frozen=True)
class Stream:
    """A stream of a watch, as the server sees it."""

    metadata: dict[str, str]
    request: read_pb2.WatchHomeTimelineRequest
    call: grpc_testing.UnaryStreamChannelRpc

    def end(self, error: grpc.Status) -> None:
        """End the stream. Events that the client has not taken yet are lost."""
        self.call.terminate(error.trailing_metadata, error.code, error.details)


class FakeFanfare:
    """Plays both services for a client; each call of it is answered by the test."""

    def __init__(self, session: auth_pb2.Session | None = None) -> None:
        self._channel = grpc_testing.channel(_SERVICES, grpc_testing.strict_real_time())
        self._threads = ThreadPoolExecutor()
        # The timeouts of the unary calls so far, in seconds.
        self.timeouts: list[float | None] = []
        channel = cast("grpc.Channel", _Interceptable(self._channel, self.timeouts))
        self.client = Client(channel, channel, session=session)

    def __enter__(self) -> Self:
        """Return the fake."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the calls of the client have ended."""
        self._threads.shutdown()

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Run a call of the client in a thread."""
        return self._threads.submit(call)

    def answer(self, method: str, response: Message) -> tuple[dict[str, str], Any]:
        """Answer the next call of a method; return its metadata and its request."""
        metadata, request, call = self._channel.take_unary_unary(_METHODS[method])
        call.terminate(response, (), grpc.StatusCode.OK, "")
        return dict(metadata), request

    def fail(self, method: str, error: grpc.Status) -> tuple[dict[str, str], Any]:
        """Fail the next call of a method; return its metadata and its request."""
        metadata, request, call = self._channel.take_unary_unary(_METHODS[method])
        call.terminate(None, error.trailing_metadata, error.code, error.details)
        return dict(metadata), request

    def stream(self, *events: read_pb2.WatchHomeTimelineResponse) -> Stream:
        """Send events to the next watch; return the stream."""
        metadata, request, call = self._channel.take_unary_stream(_METHODS["WatchHomeTimeline"])
        for event in events:
            call.send_response(event)
        return Stream(dict(metadata), request, call)


class _Interceptable:
    """The fake channel for grpc.intercept_channel(), whose calls have arguments that it lacks."""

    def __init__(self, channel: Any, timeouts: list[float | None]) -> None:
        self._channel = channel
        self._timeouts = timeouts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method of the fake channel."""
        return _Method(self._channel.unary_unary(*arguments, **options), self._timeouts)


class _Method:
    def __init__(self, method: Any, timeouts: list[float | None]) -> None:
        self._method = method
        self._timeouts = timeouts

    def __call__(self, request: Message, timeout: float | None = None) -> Any:
        return self._method(request, timeout)

    def with_call(
        self, request: Message, timeout: float | None, metadata: Any, **_options: object
    ) -> Any:
        """Make the call; the options that the fake lacks are left out."""
        self._timeouts.append(timeout)
        return self._method.with_call(request, timeout, metadata)
