"""The native server of the package pygrpc-native, which carries the calls if it is asked to.

It does HTTP/2 and the framing of gRPC in threads of its own, without Python, and hands each call
over as an event. Only our own methods are served this way. Health, reflection and unknown methods
go to a grpcio server behind it, on a Unix socket, because reflection is a bidirectional stream,
which the native server does not have.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import grpc.aio
from pygrpc_native import EVENT_CALL, STREAM_CLOSED, STREAM_FULL, NativeGrpcFront

from core.auth.addresses import peer_address
from core.auth.call_context import UNKNOWN_CALLER, Metadata
from core.errors import FanfareError
from core.rpc import server_options
from core.rpc.call_metrics import CANCELLED, DEADLINE_EXCEEDED, GRPC_METRICS, OK
from core.rpc.error_status import to_status
from core.rpc.handlers import Handlers
from core.rpc.introspection import Introspection
from core.rpc.sockets import stop_listening
from core.rpc.stream_handler import StreamHandler
from core.runtime.call_metrics import SentMessages
from core.settings import host_and_port

LOG = logging.getLogger(__name__)
# How many calls are handed to the event loop at a time.
BATCH = 64
IO_THREADS = 1
# How long to wait before trying again to send to a client that has too much left to read: first,
# and at most.
FULL_SECONDS = 0.01
MAX_FULL_SECONDS = 0.5
# The key of the trailing metadata that holds the google.rpc.Status of an error.
_DETAILS_KEY = "grpc-status-details-bin"


class NativeTransport:
    """Serves the methods of the services by NativeGrpcFront, and all else by grpc.aio.Server."""

    # Answers are sent after their calls have ended, at the pace of the client.
    sending_seconds = 1.0

    def __init__(self, handlers: Handlers, introspection: Introspection, *, shared: bool) -> None:
        """Prepare to serve.

        Args:
            handlers: the methods.
            introspection: answers beside them.
            shared: whether other processes may listen on the port too.
        """
        self._calls = handlers.calls
        methods = [method for service in handlers.services for method in service.methods]
        self._paths = [f"/{each.containing_service.full_name}/{each.name}" for each in methods]
        self._are_streams = [each.server_streaming for each in methods]
        self._handlers = [handlers.of(each) for each in methods]
        self._metrics = [GRPC_METRICS.of_method(each) for each in methods]
        self._introspection = introspection
        self._shared = shared
        self._port = 0
        self._front: NativeGrpcFront
        self._behind: grpc.aio.Server
        self._folder: tempfile.TemporaryDirectory[str]
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def open(self, bind: str, port: int) -> int:
        """Listen and serve calls; return the port. Raises OSError if that is not possible."""
        self._front = NativeGrpcFront(
            host_and_port(bind, port),
            list(zip(self._paths, self._are_streams, strict=True)),
            io_threads=IO_THREADS,
            call_details=True,
            # A stream that fails before its first message gets one answer, like any other call.
            delay_stream_headers=True,
            keepalive_time_ms=int(server_options.KEEPALIVE_SECONDS * 1000),
            keepalive_timeout_ms=int(server_options.KEEPALIVE_TIMEOUT_SECONDS * 1000),
            max_concurrent_streams=server_options.MAX_STREAMS,
            reuse_port=self._shared,
        )
        self._port = self._front.bound_port
        self._folder = tempfile.TemporaryDirectory(prefix="fanfare-")
        socket = str(Path(self._folder.name) / "grpc.sock")
        self._behind = grpc.aio.server()
        self._introspection.add_to(self._behind)
        self._behind.add_insecure_port(f"unix:{socket}")
        await self._behind.start()
        self._front.set_fallback(socket)
        self._front.start()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._receive, args=(loop,), daemon=True).start()
        return self._port

    async def stop_listening(self) -> None:
        """Free the port. Connections go on."""
        stop_listening(self._port)

    async def close(self) -> None:
        """Release everything. Calls that are still under way are cut off."""
        for task in self._tasks.values():
            task.cancel()
        await self._behind.stop(None)
        await asyncio.to_thread(self._front.close)
        self._folder.cleanup()

    def _receive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the events over to the event loop, until the front is closed."""
        with suppress(RuntimeError):  # the event loop was closed first
            while (events := self._front.recv_batch_details(BATCH)) is not None:
                loop.call_soon_threadsafe(self._begin, events)

    def _begin(self, events: Sequence[Any]) -> None:
        """Start a task for each call, and cancel those whose client or deadline has ended."""
        for kind, call_id, method, request, _, details in events:
            if kind == EVENT_CALL:
                metadata, peer, seconds_left = details
                call = _Call(metadata, peer, seconds_left)
                task = asyncio.create_task(self._answer(call_id, method, request, call))
                self._tasks[call_id] = task
            elif (begun := self._tasks.get(call_id)) is not None:
                begun.cancel()
                # A task that has not begun yet does not get to its own clean-up.
                begun.add_done_callback(partial(self._forget, call_id))

    def _forget(self, call_id: int, _: asyncio.Task[None]) -> None:
        self._tasks.pop(call_id, None)

    async def _answer(self, call_id: int, method: int, request: bytes, call: _Call) -> None:
        metrics = self._metrics[method]
        began = metrics.begin()
        outcome = OK
        handler = self._handlers[method]
        try:
            if isinstance(handler, StreamHandler):
                self._calls.enter_grpc_stream(call)
                sent = SentMessages(metrics, began)
                await handler.send(request, call, partial(self._send, call_id, sent))
                self._front.stream_end(call_id)
            else:
                self._calls.enter_grpc(call)
                self._front.respond(call_id, await handler.answer_bytes(request, call))
        except FanfareError as error:
            status = to_status(error)
            outcome = status.code
            details = [(_DETAILS_KEY, status.SerializeToString())]
            self._front.fail(call_id, status.code, status.message, details)
        except asyncio.CancelledError:
            outcome = DEADLINE_EXCEEDED if call.is_late(perf_counter() - began) else CANCELLED
            # This does nothing if the client or the deadline has ended the call.
            self._front.fail(call_id, grpc.StatusCode.CANCELLED.value[0], "cancelled")
            raise
        finally:
            metrics.end(began, outcome)
            self._tasks.pop(call_id, None)

    async def _send(self, call_id: int, sent: SentMessages, response: bytes) -> None:
        """Send a message of a stream, and wait while its client has too many left to read.

        The front has a call that waits, but it takes a thread for each client that does not read.
        """
        pause = FULL_SECONDS
        while (result := self._front.stream_try_send(call_id, response)) == STREAM_FULL:
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_FULL_SECONDS)
        if result == STREAM_CLOSED:
            # The event that cancels this task is under way.
            raise asyncio.CancelledError
        sent.add()


class _Call:
    """A call as the authorizer and the method see it."""

    __slots__ = ("_peer", "_seconds_left", "caller", "metadata")

    # TLS is off.
    certificate_names: Sequence[str] = ()

    def __init__(self, metadata: Metadata, peer: str, seconds_left: float | None) -> None:
        self.metadata = metadata
        self._peer = peer
        self._seconds_left = seconds_left
        self.caller = UNKNOWN_CALLER

    def peer(self) -> str:
        return self._peer

    def is_late(self, seconds: float) -> bool:
        """Return whether a call that has taken this many seconds has passed its deadline."""
        return self._seconds_left is not None and seconds >= self._seconds_left

    @property
    def address(self) -> str:
        return peer_address(self._peer)
