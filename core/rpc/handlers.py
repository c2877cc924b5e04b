"""The handler around each method, which the gRPC server and the REST shim both call.

A handler takes the steps of core.rpc.call_steps and runs the method. The server of each protocol
does what differs between gRPC and REST: it receives requests, sends answers and errors, and counts
calls against the limit of the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from core.auth.authorizer import Authorizer, CountedCall, MethodAuthorizer
from core.auth.call_context import Context
from core.rpc.call_steps import CallSteps, note_address
from core.rpc.calls import Calls
from core.rpc.json_answer import JsonAnswer
from core.rpc.observed_calls import CallObserver, end_after, grpc_kind, traceparent_in
from core.rpc.stream_handler import StreamHandler
from core.rpc.streams import Streams

# A method returns the response message, that message already serialised, or its two forms.
Method = Callable[[Any, Context], Awaitable[Message | bytes | JsonAnswer]]


class MethodHandler(CallSteps):
    """Answers the calls of one method."""

    def __init__(
        self, descriptor: MethodDescriptor, method: Method, authorizer: MethodAuthorizer | None
    ) -> None:
        """Wrap a method.

        Args:
            descriptor: the method in the contract.
            method: the servicer's method.
            authorizer: counts and authorizes each call; None where authentication is off.
        """
        super().__init__(descriptor, authorizer)
        self._method = method

    async def answer_bytes(self, request: bytes, context: Context) -> bytes:
        """Answer a serialised request with the serialised response.

        Raises:
            FanfareError: the call failed; InternalError stands for every unexpected failure.
        """
        with self._unexpected_failures:
            call = None
            if self._authorizer is None:
                note_address(context)
            else:
                call = await self._authorizer.count(context)
            answer = await self._answer(self._parse(request), len(request), context, call)
            return answer if isinstance(answer, bytes) else answer.SerializeToString()

    async def answer_message(
        self, request: Message, context: Context, call: CountedCall | None
    ) -> Message | JsonAnswer:
        """Answer the request message of a call that was counted with the response message.

        Raises:
            FanfareError: the call failed; InternalError stands for every unexpected failure.
        """
        with self._unexpected_failures:
            answer = await self._answer(request, request.ByteSize(), context, call)
            return self._response_class.FromString(answer) if isinstance(answer, bytes) else answer

    async def _answer(
        self, request: Message, size: int, context: Context, call: CountedCall | None
    ) -> Message | bytes | JsonAnswer:
        self._validator.validate(request, size)
        if self._authorizer is not None and call is not None:
            await self._authorizer.authorize(request, call)
        return await self._method(request, context)


class ObservedMethodHandler(MethodHandler):
    """Answers the calls of one method, and has each of those over gRPC observed."""

    def __init__(
        self,
        descriptor: MethodDescriptor,
        method: Method,
        authorizer: MethodAuthorizer | None,
        observer: CallObserver,
    ) -> None:
        """Wrap a method; see MethodHandler."""
        super().__init__(descriptor, method, authorizer)
        self._observer = observer
        self._kind = grpc_kind(descriptor)

    # Not a coroutine itself, so that a call that is not observed has none more than without this.
    def answer_bytes(self, request: bytes, context: Context) -> Coroutine[Any, Any, bytes]:
        """See MethodHandler."""
        traceparent = traceparent_in(context.metadata)
        observed = self._observer.begin(self._kind, traceparent, context, len(request))
        answering = super().answer_bytes(request, context)
        return answering if observed is None else end_after(answering, observed)


class Handlers:
    """The handlers of all methods that a process serves, over gRPC and over REST."""

    def __init__(
        self,
        authorizer: Authorizer | None = None,
        observer: CallObserver | None = None,
        streams: Streams | None = None,
    ) -> None:
        """Start without any service.

        Args:
            authorizer: authorizes the calls of all methods; None where authentication is off.
            observer: observes all calls; None if no call is to be observed.
            streams: counts the open streams; by default with the default limits.
        """
        self._authorizer = authorizer
        self.observer = observer
        """Observes all calls; None if no call is to be observed."""
        self._by_service: dict[str, dict[str, MethodHandler | StreamHandler]] = {}
        self.services: list[ServiceDescriptor] = []
        self.calls = Calls()
        self.streams = Streams() if streams is None else streams

    @property
    def requires_authentication(self) -> bool:
        """Whether callers must authenticate themselves."""
        return self._authorizer is not None

    def add_service(self, descriptor: ServiceDescriptor, servicer: object) -> None:
        """Serve each method of the descriptor by the servicer's method of the same name.

        Raises:
            ValueError: a method has no usable access rule in the contract.
        """
        self.services.append(descriptor)
        self._by_service[descriptor.full_name] = {
            method.name: self._handler(method, getattr(servicer, method.name))
            for method in descriptor.methods
        }

    def _handler(self, descriptor: MethodDescriptor, method: Any) -> MethodHandler | StreamHandler:
        authorizer = self._authorizer.of(descriptor) if self._authorizer else None
        if descriptor.server_streaming:
            return StreamHandler(descriptor, method, authorizer, self.streams, self.observer)
        if self.observer is None:
            return MethodHandler(descriptor, method, authorizer)
        return ObservedMethodHandler(descriptor, method, authorizer, self.observer)

    def of(self, method: MethodDescriptor) -> MethodHandler | StreamHandler:
        """Return the handler of a method, whose service must have been added.

        It is a StreamHandler if the method answers with a stream.
        """
        return self._by_service[method.containing_service.full_name][method.name]
