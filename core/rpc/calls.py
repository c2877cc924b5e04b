"""The calls under way in one process: how many there may be, and how they end when it stops."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc.aio

from core.errors import ShuttingDownError, TooManyCallsError

# Maximum concurrent calls per process. Queueing more would only add latency and memory.
MAX_CALLS = 2000


class Calls:
    """The calls under way in one process; health and reflection do not count."""

    def __init__(self) -> None:
        self._contexts: dict[asyncio.Task[Any], grpc.aio.ServicerContext[Any, Any]] = {}
        self._is_draining = False
        # When a caller was first refused because of the drain, by the port of its connection.
        self.refused_at: dict[int, float] = {}

    @property
    def under_way(self) -> int:
        """How many calls have not been answered yet."""
        return len(self._contexts)

    def enter(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Count the call of the current task until its answer has been sent.

        Raises:
            TooManyCallsError: MAX_CALLS are under way.
            ShuttingDownError: the process takes no more calls.
        """
        if self._is_draining:
            self.refused_at.setdefault(_port(context), time.monotonic())
            raise ShuttingDownError
        if len(self._contexts) >= MAX_CALLS:
            raise TooManyCallsError
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - grpc runs each call in a task
        self._contexts[task] = context
        # grpc's task sends the answer too, so that it ends later than the method.
        task.add_done_callback(self._contexts.pop)

    def refuse(self) -> None:
        """Refuse every call from now on with ShuttingDownError."""
        self._is_draining = True

    def ports(self) -> set[int]:
        """Return the clients' ports of the connections that have calls under way."""
        return {_port(context) for context in self._contexts.values()}


def _port(context: grpc.aio.ServicerContext[Any, Any]) -> int:
    """Return the client's port, from a peer such as ipv4:127.0.0.1:50051.

    Two clients may have the same port. Then a connection is only closed later than it could be.
    """
    port = context.peer().rpartition(":")[2]
    return int(port) if port.isdigit() else 0
