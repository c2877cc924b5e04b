"""The handler around each method, which the gRPC server and the REST shim both call.

A handler counts the call against the caller's rate limit, parses and validates the request,
authorizes the caller, runs the method and turns every failure into a FanfareError. The server of
each protocol does what differs between gRPC and REST: it receives requests, sends answers and
errors, and counts calls against the limit of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from core.auth.addresses import ClientAddresses
from core.auth.authorizer import Authorizer, CountedCall, MethodAuthorizer
from core.auth.call_context import Context
from core.errors import (
    BodyTooLargeError,
    FanfareError,
    InternalError,
    MalformedRequestError,
)
from core.rpc.calls import Calls
from core.rpc.json_answer import JsonAnswer
from core.rpc.observed_calls import CallKind, CallObserver, ObservedCall, traceparent_in
from core.rpc.request_sizes import max_message_bytes
from core.rpc.validation import RequestValidator
from core.runtime.callers import CALLER

LOG = logging.getLogger(__name__)

# Where calls come from if authentication is off: no proxy is believed then.
_PEERS = ClientAddresses(())

# A method returns the response message, that message already serialised, or its two forms.
Method = Callable[[Any, Context], Awaitable[Message | bytes | JsonAnswer]]


class MethodHandler:
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
        self._request_class = GetMessageClass(descriptor.input_type)
        self._response_class = GetMessageClass(descriptor.output_type)
        self._max_bytes = max_message_bytes(descriptor.input_type)
        self._validator = RequestValidator(descriptor.input_type)
        self._method = method
        self._authorizer = authorizer
        self._unexpected_failures = _UnexpectedFailures(descriptor.full_name)

    async def answer_bytes(self, request: bytes, context: Context) -> bytes:
        """Answer a serialised request with the serialised response.

        Raises:
            FanfareError: the call failed; InternalError stands for every unexpected failure.
        """
        with self._unexpected_failures:
            call = None
            if self._authorizer is None:
                _note_address(context)
            else:
                call = await self._authorizer.count(context)
            answer = await self._answer(self._parse(request), len(request), context, call)
            return answer if isinstance(answer, bytes) else answer.SerializeToString()

    async def count(self, context: Context) -> CountedCall | None:
        """Count a call before its request is read; the result is for answer_message().

        Raises:
            FanfareError: the caller is refused; InternalError stands for every unexpected failure.
        """
        with self._unexpected_failures:
            if self._authorizer is not None:
                return await self._authorizer.count(context)
            _note_address(context)
            return None

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

    def _parse(self, request: bytes) -> Message:
        if len(request) > self._max_bytes:
            raise BodyTooLargeError(self._max_bytes)
        # If grpc deserialised the request, it would answer INTERNAL to bytes that it cannot parse.
        try:
            return self._request_class.FromString(request)
        except DecodeError:
            name = self._request_class.DESCRIPTOR.full_name
            raise MalformedRequestError(
                f"the request is not a {name}: check that the client uses this contract"
            ) from None


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
        service = descriptor.containing_service.full_name
        name = f"{service}/{descriptor.name}"
        self._kind = CallKind("grpc", name, {"rpc.system.name": "grpc", "rpc.method": name})

    # Not a coroutine itself, so that a call that is not observed has none more than without this.
    def answer_bytes(self, request: bytes, context: Context) -> Coroutine[Any, Any, bytes]:
        """See MethodHandler."""
        traceparent = traceparent_in(context.metadata)
        observed = self._observer.begin(self._kind, traceparent, context, len(request))
        answering = super().answer_bytes(request, context)
        return answering if observed is None else _end_after(answering, observed)


async def _end_after(answering: Coroutine[Any, Any, bytes], observed: ObservedCall) -> bytes:
    """Return the answer, and record how the call ended."""
    try:
        answer = await answering
    except FanfareError as error:
        observed.end(error.code.name, error)
        raise
    except BaseException as error:
        observed.end("CANCELLED", error)
        raise
    observed.end("OK")
    return answer


class _UnexpectedFailures:
    """A context that logs an unexpected failure of a method and raises InternalError instead."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, failure: BaseException | None, _traceback: object) -> None:
        if isinstance(failure, Exception) and not isinstance(failure, FanfareError):
            LOG.error("call failed method=%s", self._method, exc_info=failure)
            raise InternalError from None


def _note_address(context: Context) -> None:
    """Let CALLER tell the current task where its call comes from, and not from whom."""
    address = _PEERS.network(context)
    CALLER.set((address, address))


class Handlers:
    """The handlers of all methods that a process serves, over gRPC and over REST."""

    def __init__(
        self, authorizer: Authorizer | None = None, observer: CallObserver | None = None
    ) -> None:
        """Start without any service.

        Args:
            authorizer: authorizes the calls of all methods; None where authentication is off.
            observer: observes all calls; None if no call is to be observed.
        """
        self._authorizer = authorizer
        self.observer = observer
        """Observes all calls; None if no call is to be observed."""
        self._by_service: dict[str, dict[str, MethodHandler]] = {}
        self.services: list[ServiceDescriptor] = []
        self.calls = Calls()

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

    def _handler(self, descriptor: MethodDescriptor, method: Method) -> MethodHandler:
        authorizer = self._authorizer.of(descriptor) if self._authorizer else None
        if self.observer is None:
            return MethodHandler(descriptor, method, authorizer)
        return ObservedMethodHandler(descriptor, method, authorizer, self.observer)

    def of(self, method: MethodDescriptor) -> MethodHandler:
        """Return the handler of a method, whose service must have been added."""
        return self._by_service[method.containing_service.full_name][method.name]
