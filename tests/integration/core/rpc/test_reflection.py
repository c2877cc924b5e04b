"""Reflection, as grpcurl and its like use it, with both gRPC servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor_database import DescriptorDatabase
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb
from helpers.grpc_server import READ, serving

pytestmark = pytest.mark.usefixtures("each_server")
DEADLINE_SECONDS = 10.0
VERSIONS = ["grpc.reflection.v1", "grpc.reflection.v1alpha"]


async def _ask(version: str, *requests: pb.ServerReflectionRequest) -> list[Any]:
    """Return the answers to requests, asked by one stream as tools do."""

    async def asked() -> AsyncIterator[pb.ServerReflectionRequest]:
        for request in requests:
            yield request

    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        # v1 and v1alpha have the same messages.
        call: Any = channel.stream_stream(
            f"/{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )
        return [answer async for answer in call(asked())]


def _symbol(name: str) -> pb.ServerReflectionRequest:
    return pb.ServerReflectionRequest(file_containing_symbol=name)


@pytest.mark.parametrize("version", VERSIONS)
async def test_all_services_can_be_listed_and_described(version: str) -> None:
    """Tools that load everything at their start find a file for each service."""
    (listed,) = await _ask(version, pb.ServerReflectionRequest(list_services=""))
    names = {each.name for each in listed.list_services_response.service}
    assert names == {
        READ.full_name,
        "grpc.health.v1.Health",
        *(f"{each}.ServerReflection" for each in VERSIONS),
    }
    for answer in await _ask(version, *map(_symbol, sorted(names))):
        name = answer.original_request.file_containing_symbol
        files = {
            file.name: file
            for file in map(
                FileDescriptorProto.FromString,
                answer.file_descriptor_response.file_descriptor_proto,
            )
        }
        database = DescriptorDatabase()
        for file in files.values():
            database.Add(file)
        assert DescriptorPool(database).FindServiceByName(name).full_name == name
        assert {each for file in files.values() for each in file.dependency} <= set(files)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_method_can_be_described(version: str) -> None:
    """`grpcurl describe fanfare.read.v1.ReadService.GetUser` asks for its file."""
    known, message, unknown, nothing = await _ask(
        version,
        _symbol(f"{READ.full_name}.GetUser"),
        _symbol("fanfare.read.v1.GetUserRequest"),
        _symbol(f"{READ.full_name}.None"),
        _symbol(""),
    )
    for found in (known, message):
        first = found.file_descriptor_response.file_descriptor_proto[0]
        assert FileDescriptorProto.FromString(first).name == READ.file.name
    assert known.original_request == _symbol(f"{READ.full_name}.GetUser")
    for absent in (unknown, nothing):
        assert absent.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
