"""What is done around every method, in this order, whether it answers once or with a stream.

The call is counted against the caller's rate limit, the request is parsed and validated, the caller
is authorized, and every failure becomes a FanfareError.
"""

from __future__ import annotations

import logging

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from core.auth.addresses import ClientAddresses
from core.auth.authorizer import CountedCall, MethodAuthorizer
from core.auth.call_context import Context
from core.errors import (
    BodyTooLargeError,
    FanfareError,
    InternalError,
    MalformedRequestError,
)
from core.rpc.request_sizes import max_message_bytes
from core.rpc.validation import RequestValidator
from core.runtime.callers import CALLER

LOG = logging.getLogger(__name__)

# Where calls come from if authentication is off: no proxy is believed then.
_PEERS = ClientAddresses(())


class CallSteps:
    """What the steps of the calls of one method need.

    Validating and authorizing are two lines in each handler: a coroutine for them would be a
    fifteenth of what a handler costs.
    """

    def __init__(self, descriptor: MethodDescriptor, authorizer: MethodAuthorizer | None) -> None:
        """Prepare the steps.

        Args:
            descriptor: the method in the contract.
            authorizer: counts and authorizes each call; None where authentication is off.
        """
        self._request_class = GetMessageClass(descriptor.input_type)
        self._response_class = GetMessageClass(descriptor.output_type)
        self._max_bytes = max_message_bytes(descriptor.input_type)
        self._validator = RequestValidator(descriptor.input_type)
        self._authorizer = authorizer
        self._unexpected_failures = _UnexpectedFailures(descriptor.full_name)

    async def count(self, context: Context) -> CountedCall | None:
        """Count a call before its request is read.

        Raises:
            FanfareError: the caller is refused; InternalError stands for every unexpected failure.
        """
        with self._unexpected_failures:
            if self._authorizer is not None:
                return await self._authorizer.count(context)
            note_address(context)
            return None

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


def note_address(context: Context) -> None:
    """Let CALLER tell the current task where its call comes from, and not from whom."""
    address = _PEERS.network(context)
    CALLER.set((address, address))
