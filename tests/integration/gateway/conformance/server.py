"""The service of Connect's conformance suite, served by the gateway: `server.py DESCRIPTOR_SET`.

The suite's runner starts it, says on its standard input what it wants, and reads the port from its
standard output. It serves what Fanfare's contract has: unary calls and server streams.

Fanfare sends no metadata of its own, nor errors without ErrorInfo, which the suite asks for. So the
protocols are extended here to send what a request asks for; all else is the gateway's.
"""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web
from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from core.auth.call_context import Context
from core.errors import FanfareError, MethodNotFoundError
from core.rpc import call_steps
from core.rpc.error_status import to_status
from core.rpc.handlers import Handlers
from gateway import codecs, connect, grpc_web, rpc_endpoint, rpc_routes, server, stream_sender
from gateway.answers import Answer, StreamedAnswer
from gateway.call_context import HttpContext
from gateway.cors import Cors
from gateway.envelopes import envelope
from gateway.listener import Listener
from gateway.routes import Route
from gateway.server import RestServer

PACKAGE = "connectrpc.conformance.v1"
MAX_BYTES = 1024 * 1024
_LENGTH = struct.Struct(">I")
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Pairs = list[tuple[str, str]]


class Asked:
    """What a request asks for beside its answer."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.headers: Pairs = []
        self.trailers: Pairs = []


# Set for each call by its endpoint, and filled in by the service.
ASKED: ContextVar[Asked] = ContextVar("ASKED")


class AskedError(FanfareError):
    """An error that a request asks for."""

    message = "{detail}"

    def __init__(self, error: Any, details: Iterable[AnyMessage]) -> None:
        """Take the error's definition, and its details."""
        super().__init__(detail=error.message)
        self.code = _CODES[error.code]  # type: ignore[misc]
        self.status = Status(code=error.code, message=error.message, details=details)


def _status(error: FanfareError) -> Status:
    if isinstance(error, AskedError):
        return error.status
    status = to_status(error)
    status.ClearField("details")
    return status


class Service:
    """Answers as each request asks."""

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        """Take where the messages are."""
        self._payload = self._class(pool, "ConformancePayload")
        self._info = self._class(pool, "ConformancePayload.RequestInfo")
        self._unary = self._class(pool, "UnaryResponse")
        self._idempotent = self._class(pool, "IdempotentUnaryResponse")
        self._stream = self._class(pool, "ServerStreamResponse")

    @staticmethod
    def _class(pool: descriptor_pool.DescriptorPool, name: str) -> Any:
        return GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))

    async def Unary(self, request: Any, context: Context) -> Message:  # noqa: N802
        """Answer with the data or the error that the request asks for."""
        answer: Message = self._unary(payload=await self._answer(request, context))
        return answer

    async def IdempotentUnary(self, request: Any, context: Context) -> Message:  # noqa: N802
        """Answer with the data or the error that the request asks for."""
        answer: Message = self._idempotent(payload=await self._answer(request, context))
        return answer

    async def Unimplemented(self, _request: Any, _context: Context) -> Message:  # noqa: N802
        """Fail."""
        raise MethodNotFoundError("this method is not implemented")

    async def ServerStream(  # noqa: N802
        self, request: Any, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Yield the messages that the request asks for."""
        asked = request.response_definition
        _remember(asked)
        info = self._info_of(request, context)
        for index, data in enumerate(asked.response_data):
            await asyncio.sleep(asked.response_delay_ms / 1000)
            payload = self._payload(data=data, request_info=None if index else info)
            yield self._stream(payload=payload).SerializeToString()
        if asked.HasField("error"):
            # The request is described once: in the first message, or else here.
            described = [] if asked.response_data else [_any(info)]
            raise AskedError(asked.error, [*asked.error.details, *described])

    async def _answer(self, request: Any, context: Context) -> Message:
        asked = request.response_definition
        _remember(asked)
        await asyncio.sleep(asked.response_delay_ms / 1000)
        info = self._info_of(request, context)
        if asked.HasField("error"):
            raise AskedError(asked.error, [*asked.error.details, _any(info)])
        payload: Message = self._payload(data=asked.response_data, request_info=info)
        return payload

    def _info_of(self, request: Message, context: Context) -> Any:
        assert isinstance(context, _Recorded)
        info = self._info(requests=[_any(request)])
        headers = context.request.headers
        for name in dict.fromkeys(headers):
            info.request_headers.add(name=name, value=headers.getall(name))
        if context.request.method == "GET":
            for name in dict.fromkeys(context.request.query):
                values = context.request.query.getall(name)
                info.connect_get_info.query_params.add(name=name, value=values)
        if "Connect-Timeout-Ms" in headers:
            info.timeout_ms = int(headers["Connect-Timeout-Ms"])
        if (timeout := headers.get("Grpc-Timeout")) is not None:
            info.timeout_ms = int(int(timeout[:-1]) * {"S": 1000, "m": 1, "u": 0.001}[timeout[-1]])
        return info


def _remember(definition: Any) -> None:
    asked = ASKED.get()
    asked.headers = [(each.name, v) for each in definition.response_headers for v in each.value]
    asked.trailers = [(each.name, v) for each in definition.response_trailers for v in each.value]


def _any(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


class _Recorded(HttpContext):
    """A call whose request the service sees."""

    __slots__ = ("request",)

    def __init__(self, request: web.BaseRequest) -> None:
        super().__init__(request)
        self.request = request
        ASKED.set(Asked())


def _joined(pairs: Pairs, prefix: str = "") -> dict[str, str]:
    """Return headers, of which those of one name are joined, which means the same."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        key = prefix + name
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _trailing(protocol: type[Any]) -> type[Any]:
    """Return a unary Connect protocol that sends the metadata that a request asks for."""

    class Trailing(protocol):  # type: ignore[misc]
        def answer(self, message: bytes) -> Answer:
            return _with_metadata(super().answer(message))

        def refusal(self, error: FanfareError) -> Answer:
            return _with_metadata(super().refusal(error))

    def _with_metadata(answer: Answer) -> Answer:
        asked = ASKED.get()
        answer.headers |= _joined(asked.headers) | _joined(asked.trailers, "trailer-")
        return answer

    return Trailing


class _ConnectStream(connect.ConnectStream):
    """A stream whose last message has the metadata that its request asks for."""

    def end(self, error: FanfareError | None) -> bytes:
        told: dict[str, Any] = {"metadata": {}}
        for name, value in ASKED.get().trailers:
            told["metadata"].setdefault(name, []).append(value)
        if error is not None:
            told["error"] = connect.error_json(_status(error))
        return envelope(json.dumps(told).encode(), 2)

    def hints(self, error: FanfareError) -> dict[str, str]:
        return super().hints(error) | _joined(ASKED.get().headers)


class _GrpcWeb(grpc_web.GrpcWeb):
    """Sends the metadata that a request asks for."""

    def answer(self, message: bytes) -> Answer:
        answer = super().answer(message)
        answer.body = envelope(message) + self.end(None)
        answer.headers |= _joined(ASKED.get().headers)
        return answer

    def end(self, error: FanfareError | None) -> bytes:
        frame = super().end(error)
        lines = "".join(f"{name}: {value}\r\n" for name, value in ASKED.get().trailers)
        return envelope(frame[5:] + lines.encode(), frame[0])

    def hints(self, error: FanfareError) -> dict[str, str]:
        return super().hints(error) | _joined(ASKED.get().headers)


class _Streamed(StreamedAnswer):
    """The head of a stream, with the headers that its request asks for."""

    def __init__(self, request: web.BaseRequest, fixed_lines: str, content_type: str) -> None:
        super().__init__(request, fixed_lines, content_type)
        self.headers |= _joined(ASKED.get().headers)


def _unlimited(_descriptor: Descriptor) -> int:
    return MAX_BYTES


def _no_routes(_service: ServiceDescriptor) -> Iterator[Route]:
    return iter(())


def _extend() -> None:
    """Make the gateway send what the suite asks for, and serve a contract without limits."""
    for module, name, value in (
        (connect, "to_status", _status),
        (grpc_web, "to_status", _status),
        (rpc_endpoint, "HttpContext", _Recorded),
        (rpc_routes, "ConnectUnary", _trailing(connect.ConnectUnary)),
        (rpc_routes, "ConnectGet", _trailing(connect.ConnectGet)),
        (rpc_routes, "ConnectStream", _ConnectStream),
        (rpc_routes, "GrpcWeb", _GrpcWeb),
        (stream_sender, "StreamedAnswer", _Streamed),
        (call_steps, "max_message_bytes", _unlimited),
        (codecs, "max_message_bytes", _unlimited),
        (codecs, "max_json_bytes", _unlimited),
        (server, "routes", _no_routes),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)


def _contract(path: Path) -> descriptor_pool.DescriptorPool:
    """Return the pool with the suite's contract, without the methods that take streams."""
    pool = descriptor_pool.Default()
    for file in FileDescriptorSet.FromString(path.read_bytes()).file:
        if not _has(pool, file):
            for service in file.service:
                kept = [each for each in service.method if not each.client_streaming]
                del service.method[:]
                service.method.extend(kept)
            pool.AddSerializedFile(file.SerializeToString())
    return pool


def _has(pool: descriptor_pool.DescriptorPool, file: FileDescriptorProto) -> bool:
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        return False
    return True


def _received() -> None:
    """Read what the runner asks for, all of which this server does."""
    (length,) = _LENGTH.unpack(sys.stdin.buffer.read(_LENGTH.size))
    sys.stdin.buffer.read(length)


async def _serve(path: Path) -> None:
    pool = _contract(path)
    _extend()
    handlers = Handlers()
    handlers.add_service(pool.FindServiceByName(f"{PACKAGE}.ConformanceService"), Service(pool))
    rest = RestServer(Listener("127.0.0.1", 0), handlers, lambda: True, Cors(""))
    await rest.start()
    response = GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.ServerCompatResponse"))
    told = response(host="127.0.0.1", port=rest.port).SerializeToString()
    sys.stdout.buffer.write(_LENGTH.pack(len(told)) + told)
    sys.stdout.buffer.flush()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()


if __name__ == "__main__":
    _received()
    asyncio.run(_serve(Path(sys.argv[1])))
