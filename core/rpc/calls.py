"""The calls under way in one process: the limit on their number, and how a drain treats them."""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from typing import Any, Protocol

from core.errors import ShuttingDownError, TooManyCallsError

# Maximum concurrent calls per process. Queueing more would only add latency and memory.
MAX_CALLS = 2000


class GrpcCall(Protocol):
    """A gRPC call of either transport."""

    def peer(self) -> str:
        """Return the client's address and port, such as ipv4:127.0.0.1:50051."""


class Calls:
    """Counts gRPC and REST calls against one limit, except health checks and reflection.

    Streams have limits of their own (core.rpc.streams). Those over gRPC are known here as well,
    because a drain must not close their connections before they have ended.
    """

    def __init__(self) -> None:
        self._grpc: dict[asyncio.Task[Any], GrpcCall] = {}
        self._grpc_streams: dict[asyncio.Task[Any], GrpcCall] = {}
        self.entered_rest = RestCalls(self)
        self._refuses_grpc = False
        # When a drain first refused a call on a connection, and when a call last ended on it during
        # the drain; in time.monotonic() seconds, by the client's port.
        self.refused_at: dict[int, float] = {}
        self.ended_at: dict[int, float] = {}

    @property
    def grpc_count(self) -> int:
        """The number of gRPC calls that have not been answered yet."""
        return len(self._grpc)

    def enter_grpc(self, call: GrpcCall) -> None:
        """Count a gRPC call until the current task ends.

        Each call has a task, which also answers it and so outlives the method.

        Raises:
            TooManyCallsError: MAX_CALLS are under way.
            ShuttingDownError: the process is draining.
        """
        self._refuse_during_drain(call)
        self.check_limit()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - each call has a task
        self._grpc[task] = call
        task.add_done_callback(self._leave_grpc)

    def enter_grpc_stream(self, call: GrpcCall) -> None:
        """Know of a gRPC call that is answered with a stream until the current task ends.

        Raises:
            ShuttingDownError: the process is draining.
        """
        self._refuse_during_drain(call)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - each call has a task
        self._grpc_streams[task] = call
        task.add_done_callback(self._leave_grpc)

    def check_limit(self) -> None:
        """Raise TooManyCallsError if MAX_CALLS are under way."""
        if len(self._grpc) + self.entered_rest.count >= MAX_CALLS:
            raise TooManyCallsError

    def refuse_grpc(self) -> None:
        """Refuse every later gRPC call with ShuttingDownError."""
        self._refuses_grpc = True

    def ports(self) -> set[int]:
        """Return the clients' ports of the gRPC connections that have calls or streams."""
        return {_port(call) for call in chain(self._grpc.values(), self._grpc_streams.values())}

    def _refuse_during_drain(self, call: GrpcCall) -> None:
        if self._refuses_grpc:
            self.refused_at.setdefault(_port(call), time.monotonic())
            raise ShuttingDownError

    def _leave_grpc(self, task: asyncio.Task[Any]) -> None:
        call = self._grpc.pop(task, None) or self._grpc_streams.pop(task)
        if self._refuses_grpc:
            self.ended_at[_port(call)] = time.monotonic()


class RestCalls:
    """A context manager that counts a REST call until its context ends. Contexts may overlap.

    A drain does not refuse REST calls: the HTTP server closes each connection after its next
    answer, so its clients need no retries.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.count = 0

    def __enter__(self) -> None:
        """Count a call; raise TooManyCallsError if MAX_CALLS are under way."""
        self._calls.check_limit()
        self.count += 1

    def __exit__(self, *_: object) -> None:
        """Count the call no longer."""
        self.count -= 1


def _port(call: GrpcCall) -> int:
    """Return the client's port.

    Two clients on different machines may have the same port. A drain then closes one of their
    connections later than it could, which does no harm.
    """
    port = call.peer().rpartition(":")[2]
    return int(port) if port.isdigit() else 0
