"""The handler around a method that answers with a stream, which gRPC and REST call.

It takes the same steps as the handler of any other method (core.rpc.call_steps), counts the stream
against the limits of open streams, and looks at the access token again before each event: a stream
outlasts the ten minutes of a token, and ends when the token does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from core.auth.authorizer import CountedCall, MethodAuthorizer
from core.auth.call_context import Context
from core.rpc.call_steps import CallSteps
from core.rpc.observed_calls import CallObserver, end_after, grpc_kind, traceparent_in
from core.rpc.streams import Streams

# A method yields serialised responses.
StreamMethod = Callable[[Any, Context], AsyncGenerator[bytes, None]]
Send = Callable[[bytes], Awaitable[None]]


class StreamHandler(CallSteps):
    """Answers the calls of one method with streams."""

    def __init__(
        self,
        descriptor: MethodDescriptor,
        method: StreamMethod,
        authorizer: MethodAuthorizer | None,
        streams: Streams,
        observer: CallObserver | None,
    ) -> None:
        """Wrap a method.

        Args:
            descriptor: the method in the contract.
            method: the servicer's method.
            authorizer: counts and authorizes each call; None where authentication is off.
            streams: counts the open streams.
            observer: observes the calls over gRPC; None if none is to be observed.
        """
        super().__init__(descriptor, authorizer)
        self._method = method
        self._streams = streams
        self._observer = observer
        self._kind = grpc_kind(descriptor)

    async def send(self, request: bytes, context: Context, send: Send) -> None:
        """Answer a serialised request of a gRPC call, and have the call observed.

        Args:
            request: the request.
            context: the call.
            send: sends a serialised response, and returns when there is room for the next one.

        Raises:
            FanfareError: the stream failed; InternalError stands for every unexpected failure.
        """
        sending = self._send(request, context, send)
        if self._observer is not None:
            traceparent = traceparent_in(context.metadata)
            observed = self._observer.begin(self._kind, traceparent, context, len(request))
            if observed is not None:
                sending = end_after(sending, observed)
        await sending

    async def _send(self, request: bytes, context: Context, send: Send) -> None:
        call = await self.count(context)
        async with aclosing(self.stream(request, context, call)) as events:
            async for event in events:
                await send(event)

    async def stream(
        self, request: bytes | Message, context: Context, call: CountedCall | None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the serialised responses; the consumer must close the generator in the same task.

        Nothing is computed while the consumer does not ask for more.

        Args:
            request: the request message, serialised or not.
            context: the call.
            call: what count() returned.

        Raises:
            FanfareError: the stream failed; InternalError stands for every unexpected failure.
        """
        with self._unexpected_failures:
            if isinstance(request, bytes):
                message, size = self._parse(request), len(request)
            else:
                message, size = request, request.ByteSize()
            self._validator.validate(message, size)
            if self._authorizer is not None and call is not None:
                await self._authorizer.authorize(message, call)
            # With authentication off, callers have no limits of their own.
            with self._streams.opened("" if call is None else call.counted_by) as stream:
                async with aclosing(self._method(message, context)) as events:
                    while (event := await stream.next(events)) is not None:
                        if self._authorizer is not None:
                            self._authorizer.check_caller(context)
                        yield event
