"""The paths by which a method is called as an RPC, and the protocols that each of them takes.

The path is /package.Service/Method. Methods without side effects can be called by GET too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from aiohttp import hdrs, web
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from core.errors import UnsupportedMediaTypeError
from core.rpc.handlers import Handlers
from core.rpc.stream_handler import StreamHandler
from gateway.call_metrics import metrics_of
from gateway.codecs import BinaryCodec, Codec, JsonCodec
from gateway.connect import ConnectGet, ConnectStream, ConnectUnary
from gateway.endpoint import rest_kind
from gateway.grpc_web import GrpcWeb, GrpcWebText
from gateway.requests import excerpt
from gateway.routes import Route, rpc_path
from gateway.rpc_endpoint import Port, RpcStreamEndpoint, RpcUnaryEndpoint
from gateway.rpc_protocols import RpcProtocol, UnaryProtocol

_ENCODING = re.compile("(?:^|&)encoding=([^&]*)")

P = TypeVar("P", bound=RpcProtocol)
RpcRoute = tuple[Route, RpcUnaryEndpoint | RpcStreamEndpoint]


def rpc_routes(handlers: Handlers, port: Port) -> Iterator[RpcRoute]:
    """Yield the routes of all methods, each with what answers its requests."""
    for service in handlers.services:
        for method in service.methods:
            yield from _routes(method, handlers, port)


def _routes(method: MethodDescriptor, handlers: Handlers, port: Port) -> Iterator[RpcRoute]:
    handler, path = handlers.of(method), rpc_path(method)
    binary, json = BinaryCodec(method, handler), JsonCodec(method)
    post = Route(hdrs.METH_POST, path, method, has_body=True)
    if isinstance(handler, StreamHandler):
        streams = [ConnectStream(binary), ConnectStream(json), *_grpc_web(binary, json)]
        choose_stream = _by_content_type(streams)
        yield (
            post,
            RpcStreamEndpoint(rest_kind(post), handler, choose_stream, port, metrics_of(post)),
        )
        return
    protocols: list[UnaryProtocol] = [
        ConnectUnary(binary),
        ConnectUnary(json),
        *_grpc_web(binary, json),
    ]
    yield post, RpcUnaryEndpoint(rest_kind(post), handler, _by_content_type(protocols), port)
    if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS:
        get = Route(hdrs.METH_GET, path, method, has_body=False)
        choose = _by_query({codec.name: codec for codec in (binary, json)})
        yield get, RpcUnaryEndpoint(rest_kind(get), handler, choose, port)


def _grpc_web(binary: BinaryCodec, json: JsonCodec) -> list[GrpcWeb]:
    """Return the forms of gRPC-Web. Without a suffix, messages are binary."""
    return [
        GrpcWeb("application/grpc-web", binary),
        GrpcWeb("application/grpc-web+proto", binary),
        GrpcWeb("application/grpc-web+json", json),
        GrpcWebText("application/grpc-web-text", binary),
        GrpcWebText("application/grpc-web-text+proto", binary),
    ]


def _by_content_type(protocols: list[P]) -> Callable[[web.BaseRequest], P]:
    """Return a function that chooses the protocol of a POST."""
    by_type = {protocol.content_type: protocol for protocol in protocols}
    known = ", ".join(by_type)

    def choose(request: web.BaseRequest) -> P:
        given = request.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
        kind = given.partition(";")[0].strip().lower()
        if (protocol := by_type.get(kind)) is None:
            raise UnsupportedMediaTypeError(f"the body is {excerpt(kind)}: send one of {known}")
        return protocol

    return choose


def _by_query(codecs: Mapping[str, Codec]) -> Callable[[web.BaseRequest], ConnectGet]:
    """Return a function that chooses the protocol of a GET."""

    def choose(request: web.BaseRequest) -> ConnectGet:
        query = request.rel_url.raw_query_string
        found = _ENCODING.search(query)
        encoding = "" if found is None else found[1]
        if (codec := codecs.get(encoding)) is None:
            raise UnsupportedMediaTypeError(
                f"the query has the encoding {excerpt(encoding)}: send encoding=json or =proto"
            )
        return ConnectGet(codec, query)

    return choose
