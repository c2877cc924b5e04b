"""The two forms that a message can have in Connect and gRPC-Web: binary, and JSON as in REST."""

from __future__ import annotations

from abc import ABC, abstractmethod

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core.auth.authorizer import CountedCall
from core.auth.call_context import Context
from core.rpc.call_steps import CallSteps
from core.rpc.handlers import MethodHandler
from core.rpc.json_answer import JsonAnswer
from core.rpc.request_sizes import max_json_bytes, max_message_bytes
from gateway.requests import RequestReader
from gateway.routes import Route, rpc_path
from gateway.transcode import json_body, printer


class Codec(ABC):
    """Reads the requests of one method, and prints its responses."""

    def __init__(self, name: str, limit: int) -> None:
        """Take what the codecs differ in.

        Args:
            name: what content types and queries call it.
            limit: how many bytes a request may have.
        """
        self.name = name
        self.limit = limit

    @abstractmethod
    def parse(self, data: bytes) -> Message:
        """Return the request message; raise MalformedRequestError or InvalidRequestError."""

    @abstractmethod
    async def answer(
        self, handler: MethodHandler, request: Message, context: Context, call: CountedCall | None
    ) -> bytes:
        """Return the response of a method to a counted call.

        Raises:
            FanfareError: the call failed.
        """

    @abstractmethod
    def event(self, message: bytes) -> bytes:
        """Return a response of a stream, which is given serialised."""


class BinaryCodec(Codec):
    """Serialised messages."""

    def __init__(self, method: MethodDescriptor, steps: CallSteps) -> None:
        """Prepare for the messages of a method.

        Args:
            method: the method.
            steps: its handler, which parses its requests.
        """
        super().__init__("proto", max_message_bytes(method.input_type))
        self._steps = steps

    def parse(self, data: bytes) -> Message:
        """Return the request message; raise MalformedRequestError if there is none."""
        return self._steps.parse(data)

    async def answer(
        self, handler: MethodHandler, request: Message, context: Context, call: CountedCall | None
    ) -> bytes:
        """Return the serialised response."""
        return await handler.answer_serialized(request, context, call)

    def event(self, message: bytes) -> bytes:
        """Return the message as it is."""
        return message


class JsonCodec(Codec):
    """JSON as in REST: the names of the protos, and exact integers."""

    def __init__(self, method: MethodDescriptor) -> None:
        """Prepare for the messages of a method."""
        super().__init__("json", max_json_bytes(method.input_type))
        self._reader = RequestReader(Route("POST", rpc_path(method), method, has_body=True))
        self._response = GetMessageClass(method.output_type)
        self._print = printer(method.output_type)

    def parse(self, data: bytes) -> Message:
        """Return the request message; raise MalformedRequestError or InvalidRequestError."""
        return self._reader.read({}, (), data)

    async def answer(
        self, handler: MethodHandler, request: Message, context: Context, call: CountedCall | None
    ) -> bytes:
        """Return the response as JSON, which ends its line."""
        response = await handler.answer_message(request, context, call)
        return response.json() + b"\n" if isinstance(response, JsonAnswer) else json_body(response)

    def event(self, message: bytes) -> bytes:
        """Return the message as JSON."""
        return self._print(self._response.FromString(message)).encode()
