"""Answers the HTTP requests that call a method as an RPC, over Connect or gRPC-Web."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from aiohttp import web
from google.protobuf.message import Message

from core.auth.authorizer import CountedCall
from core.errors import FanfareError, UnauthenticatedError, UnsupportedMediaTypeError
from core.rpc.call_steps import CallSteps
from core.rpc.calls import Calls
from core.rpc.handlers import MethodHandler
from core.rpc.observed_calls import CallKind, CallObserver
from core.rpc.stream_handler import StreamHandler
from core.runtime.call_metrics import CallMetrics, SentMessages
from core.runtime.tracing import TRACEPARENT
from gateway.answers import Answer
from gateway.call_context import HttpContext
from gateway.deadlines import Deadlines, in_time
from gateway.endpoint import INLINE_BODY_BYTES, RunInThread, end_after
from gateway.failures import HTTP_STATUSES, text_answer
from gateway.rpc_protocols import RpcProtocol, StreamProtocol, UnaryProtocol
from gateway.stream_sender import StreamCall, StreamSender

P = TypeVar("P", bound=RpcProtocol)


@dataclass(frozen=True)
class Port:
    """What the endpoints of a port share."""

    calls: Calls
    """Counts the calls that are not streams."""
    deadlines: Deadlines
    """Cancels those that take too long."""
    sender: StreamSender
    """Sends the streams."""
    run_in_thread: RunInThread
    """Runs a function in a thread that parses bodies."""
    observer: CallObserver | None
    """Observes the calls; None if none is to be observed."""


@dataclass(slots=True)
class RpcCall(Generic[P]):
    """A call whose request is being read or answered."""

    request: web.BaseRequest
    protocol: P
    context: HttpContext
    counted: CountedCall | None
    """What the handler's count() returned."""
    began: float
    """When it began, in perf_counter() seconds."""
    late_at: float | None
    """When the client no longer waits, in the event loop's time; None if it did not say."""


class RpcEndpoint(ABC, Generic[P]):
    """Answers the requests of one method and verb."""

    def __init__(
        self,
        kind: CallKind,
        steps: CallSteps,
        choose: Callable[[web.BaseRequest], P],
        port: Port,
    ) -> None:
        """Prepare to answer requests.

        Args:
            kind: what is known about all calls.
            steps: the handler of the method.
            choose: returns the protocol of a request, or raises UnsupportedMediaTypeError.
            port: what all endpoints share.
        """
        self._kind = kind
        self._steps = steps
        self._choose = choose
        self._port = port

    async def answer(self, request: web.BaseRequest, _path: Mapping[str, str]) -> Answer:
        """Answer a request, also if its call fails."""
        try:
            protocol = self._choose(request)
        except UnsupportedMediaTypeError as error:
            return text_answer(error)
        context = HttpContext(request)
        answering = self._answer(request, protocol, context)
        if (observer := self._port.observer) is not None:
            traceparent = request.headers.get(TRACEPARENT)
            observed = observer.begin(self._kind, traceparent, context, request.content_length)
            if observed is not None:
                answering = end_after(answering, observed, _status_of)
        try:
            return await answering
        except FanfareError as error:
            return protocol.refusal(error)

    async def _answer(self, request: web.BaseRequest, protocol: P, context: HttpContext) -> Answer:
        began, loop_began = perf_counter(), asyncio.get_running_loop().time()
        # Before anything is read, as over REST.
        counted = await self._steps.count(context)
        if not context.is_authorization_usable:
            raise UnauthenticatedError
        seconds = protocol.timeout(request.headers)
        protocol.check(request.headers)
        late_at = None if seconds is None else loop_began + seconds
        message = await in_time(late_at, self._receive(request, protocol))
        return await self._call(
            RpcCall(request, protocol, context, counted, began, late_at), message
        )

    async def _receive(self, request: web.BaseRequest, protocol: P) -> Message:
        data = await protocol.receive(request)
        if len(data) <= INLINE_BODY_BYTES:
            return protocol.codec.parse(data)
        return await self._port.run_in_thread(lambda: protocol.codec.parse(data))

    @abstractmethod
    async def _call(self, call: RpcCall[P], message: Message) -> Answer:
        """Return the answer to a request message.

        Raises:
            FanfareError: the call failed before anything was sent.
        """


class RpcUnaryEndpoint(RpcEndpoint[UnaryProtocol]):
    """Answers the requests of a method that answers with one message."""

    def __init__(
        self,
        kind: CallKind,
        handler: MethodHandler,
        choose: Callable[[web.BaseRequest], UnaryProtocol],
        port: Port,
    ) -> None:
        """Prepare to answer requests; see RpcEndpoint."""
        super().__init__(kind, handler, choose, port)
        self._handler = handler

    async def _call(self, call: RpcCall[UnaryProtocol], message: Message) -> Answer:
        codec = call.protocol.codec
        with self._port.calls.entered_rest:
            answering = codec.answer(self._handler, message, call.context, call.counted)
            response = await self._port.deadlines.run(in_time(call.late_at, answering))
        return call.protocol.answer(response)


class RpcStreamEndpoint(RpcEndpoint[StreamProtocol]):
    """Answers the requests of a method that answers with a stream."""

    def __init__(
        self,
        kind: CallKind,
        handler: StreamHandler,
        choose: Callable[[web.BaseRequest], StreamProtocol],
        port: Port,
        metrics: CallMetrics,
    ) -> None:
        """Prepare to answer requests; see RpcEndpoint. The metrics are those of the route."""
        super().__init__(kind, handler, choose, port)
        self._handler = handler
        self._metrics = metrics

    async def _call(self, call: RpcCall[StreamProtocol], message: Message) -> Answer:
        sent = SentMessages(self._metrics, call.began)
        streamed = StreamCall(
            call.request, self._kind.name, call.protocol, sent, late_at=call.late_at
        )
        stream = self._handler.stream(message, call.context, call.counted)
        async with aclosing(stream) as events:
            return await self._port.sender.send(streamed, events)


def _status_of(error: FanfareError) -> int:
    return HTTP_STATUSES[error.code]
