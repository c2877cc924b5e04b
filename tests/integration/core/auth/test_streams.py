"""Streams of callers with access tokens, with each gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from helpers import grpc_server
from helpers.authentication import authorizer
from helpers.contract_calls import OWNER
from helpers.grpc_client import reason
from helpers.grpc_server import GRPC_SERVERS, READ, Silent, Watched, serving

from core.auth.call_context import Context
from core.rpc.streams import Streams
from core.settings import GrpcServerKind

DEADLINE_SECONDS = 8.0
REQUEST = pb.WatchHomeTimelineRequest(user_id=OWNER)
EVENT = pb.WatchHomeTimelineResponse(heartbeat=pb.Heartbeat(), resume_token="a")
Metadata = dict[str, list[tuple[str, str]]]


@pytest.fixture(params=GRPC_SERVERS, autouse=True)
def _each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "GRPC_SERVER", GrpcServerKind(request.param))


async def _refusal(call: Any) -> str:
    """Return the reason with which a stream ends now."""
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        assert await call.read() is None
    return reason(ended.value)


async def test_a_user_has_a_limit_and_a_service_has_none(folder: Path, known: Metadata) -> None:
    """Whoever reads the timeline, it is the caller that counts."""
    watched = Watched(EVENT.SerializeToString())
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(
            READ,
            servicer=watched,
            authorizer=authorizer(folder),
            streams=Streams(most_per_caller=2),
        ) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        calls = [stub.WatchHomeTimeline(REQUEST, metadata=known["owner"]) for _ in range(2)]
        for call in calls:
            assert await call.read() == EVENT
        above = stub.WatchHomeTimeline(REQUEST, metadata=known["owner"])
        assert await _refusal(above) == "TOO_MANY_WATCHES"
        for _ in range(3):
            call = stub.WatchHomeTimeline(REQUEST, metadata=known["service"])
            assert await call.read() == EVENT
        other = stub.WatchHomeTimeline(REQUEST, metadata=known["stranger"])
        assert await _refusal(other) == "PERMISSION_DENIED"
        calls[0].cancel()
        await watched.closed.acquire()
        again = stub.WatchHomeTimeline(REQUEST, metadata=known["owner"])
        assert await again.read() == EVENT


class _Beating:
    """A ReadService whose watches send an event whenever a test says so."""

    def __init__(self) -> None:
        self.beat = asyncio.Semaphore(1)

    def __getattr__(self, name: str) -> object:
        return getattr(Silent(), name)

    async def WatchHomeTimeline(  # noqa: N802 - the contract's name
        self, _request: Any, _context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Send an event for each beat."""
        while True:
            await self.beat.acquire()
            yield EVENT.SerializeToString()


async def test_a_stream_ends_when_its_token_is_ended(folder: Path, known: Metadata) -> None:
    """As by a new password: the next event is not sent. Other streams go on."""
    ended: set[int | None] = set()
    beating = _Beating()
    checking = authorizer(folder, is_ended=lambda caller: caller.user_id in ended)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=beating, authorizer=checking) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        call = stub.WatchHomeTimeline(REQUEST, metadata=known["owner"])
        assert await call.read() == EVENT
        beating.beat.release()
        assert await call.read() == EVENT
        ended.add(OWNER)
        beating.beat.release()
        assert await _refusal(call) == "UNAUTHENTICATED"
        service = stub.WatchHomeTimeline(REQUEST, metadata=known["service"])
        beating.beat.release()
        assert await service.read() == EVENT
