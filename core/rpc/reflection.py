"""Reflection, by which grpcurl and other tools learn the contract: versions v1 and v1alpha.

grpcio-reflection has v1alpha alone, and finds no methods. v1 has the same messages under another
package name, so its file is made from that of v1alpha, and one servicer answers both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

_ALPHA = reflection_pb2.DESCRIPTOR.package
_V1 = _ALPHA.removesuffix("alpha")
_FILE = f"{_V1.replace('.', '/')}/reflection.proto"
SERVICE_NAMES = (f"{_V1}.ServerReflection", reflection.SERVICE_NAME)
"""The name of the service in each version."""


def add_to(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Let a server describe these services and its reflection."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(_FILE)
    except KeyError:
        pool.AddSerializedFile(_v1_file().SerializeToString())
    servicer = reflection.aio.ReflectionServicer([*services, *SERVICE_NAMES], pool=_Pool())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, methods) for name in SERVICE_NAMES]
    )


def _v1_file() -> FileDescriptorProto:
    """Return the file of v1: that of v1alpha, with v1 wherever it names its package."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = _FILE, _V1
    file.ClearField("options")
    for message in file.message_type:
        # Only those that hold messages have a type name.
        for field in filter(lambda each: each.type_name, message.field):
            field.type_name = field.type_name.replace(_ALPHA, _V1)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(_ALPHA, _V1)
        method.output_type = method.output_type.replace(_ALPHA, _V1)
    return file


class _Pool:
    """protobuf's default pool, which here also finds the file of a method."""

    def FindFileContainingSymbol(self, name: str) -> FileDescriptor:  # noqa: N802 - the pool's name
        pool = descriptor_pool.Default()
        try:
            return pool.FindFileContainingSymbol(name)
        except KeyError:
            return pool.FindMethodByName(name).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(descriptor_pool.Default(), name)
