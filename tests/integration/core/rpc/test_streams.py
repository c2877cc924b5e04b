"""Methods that answer with streams, with each gRPC server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from helpers.grpc_client import details
from helpers.grpc_server import READ, Silent, Watched, serving
from helpers.http2 import (
    opening,
)
from prometheus_client import REGISTRY

from core.auth.call_context import Context
from core.errors import TooManyCallsError, UserNotFoundError
from core.rpc.server import GrpcServer
from core.rpc.streams import Streams
from core.settings import GrpcServerKind

pytestmark = pytest.mark.usefixtures("each_server")
# Less than DRAIN_SECONDS, so that a test fails if its drain only ends by its time limit.
DEADLINE_SECONDS = 8.0
WATCH = b"/fanfare.read.v1.ReadService/WatchHomeTimeline"
REQUEST = pb.WatchHomeTimelineRequest(user_id=7)
EVENTS = [
    pb.WatchHomeTimelineResponse(tweet=Tweet(id=1, content="hello"), resume_token="a"),
    pb.WatchHomeTimelineResponse(heartbeat=pb.Heartbeat(), resume_token="b"),
]
BYTES = [event.SerializeToString() for event in EVENTS]
LARGE = pb.WatchHomeTimelineResponse(resume_token="x" * 10_000).SerializeToString()
WINDOW_UPDATE = 8
SERVICE_CONFIG = Path(__file__).parents[4] / "docs" / "service_config.json"


def _channel(server: GrpcServer) -> grpc.aio.Channel:
    # The option gives the channel its own connection. By default, channels to one port share one.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options)


def _status(error: grpc.aio.AioRpcError) -> Status:
    # The type stubs want a grpc.Call, but an AioRpcError has the methods that are used.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    return status


async def _refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return the code and the reason with which a stream ends before its first event."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        assert await call.read() is None
    return refused.value.code(), details(_status(refused.value))[0]


async def test_events_arrive_as_they_are_sent() -> None:
    """Each while the stream goes on."""
    watched = Watched(*BYTES)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        call = stub.WatchHomeTimeline(REQUEST, metadata=(("x-a", "1"), ("x-bin", b"\0\xff")))
        assert [await call.read() for _ in EVENTS] == EVENTS
        (context,) = watched.contexts
        assert context.address == "127.0.0.1"
        metadata = [(key, value) for key, value in context.metadata if key.startswith("x-")]
        assert metadata == [("x-a", "1"), ("x-bin", b"\0\xff")]
        call.cancel()
        await watched.closed.acquire()


async def test_a_stream_may_end_by_itself() -> None:
    """With OK."""
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=Silent()) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        call = stub.WatchHomeTimeline(REQUEST)
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("events", [[], BYTES])
async def test_an_error_has_its_details_before_and_after_events(events: list[bytes]) -> None:
    """As that of any other method."""
    watched = Watched(*events)
    watched.error = UserNotFoundError(7)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        call = stub.WatchHomeTimeline(REQUEST)
        assert [await call.read() for _ in events] == EVENTS[: len(events)]
        assert await _refusal(call) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")


class _BusyAtFirst(Watched):
    """Refuses the first watch, as a process does that drains or is at a limit."""

    def __init__(self) -> None:
        super().__init__(*BYTES)
        self.refusals = iter([TooManyCallsError()])

    async def WatchHomeTimeline(  # noqa: N802 - the contract's name
        self, _request: Message, context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Refuse, or send the events."""
        for refusal in self.refusals:
            raise refusal
        async for event in super().WatchHomeTimeline(_request, context):
            yield event


async def test_clients_repeat_a_stream_that_is_refused() -> None:
    """By the published service config: gRPC allows that if no headers came before the error."""
    config = ("grpc.service_config", SERVICE_CONFIG.read_text())
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=_BusyAtFirst()) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=[config]) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        assert await stub.WatchHomeTimeline(REQUEST).read() == EVENTS[0]


async def test_an_invalid_request_is_refused() -> None:
    """With the field, like those of other methods."""
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=Watched()) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.WatchHomeTimeline(pb.WatchHomeTimelineRequest()).read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details(_status(refused.value)) == ("INVALID_REQUEST", ("user_id",))


async def test_a_stream_ends_with_its_client_and_with_its_deadline() -> None:
    """The method is closed, so that nothing works for a client that has left."""
    watched = Watched(*BYTES)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched) as server,
    ):
        async with _channel(server) as channel:
            stub: Any = ReadServiceStub(channel)
            seconds, events = 0.1, list[pb.WatchHomeTimelineResponse]()
            while events != EVENTS:  # the machine may be busy
                late = stub.WatchHomeTimeline(REQUEST, timeout=seconds)
                events = [event async for event in _until_error(late)]
                assert await late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                seconds *= 2
            await watched.closed.acquire()
            cancelled = stub.WatchHomeTimeline(REQUEST)
            assert await cancelled.read() == EVENTS[0]
            cancelled.cancel()
            await watched.closed.acquire()
            lost = stub.WatchHomeTimeline(REQUEST)
            assert await lost.read() == EVENTS[0]
        # The channel is closed with the stream open.
        await watched.closed.acquire()


async def _until_error(call: Any) -> Any:
    try:
        async for event in call:
            yield event
    except grpc.aio.AioRpcError:
        return


async def test_a_drain_ends_streams_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told when to come back, by a delay of its own; later streams are refused."""
    drawn = [number / 4 for number in range(20)]
    left = iter(drawn)
    monkeypatch.setattr("core.watch_errors.random.uniform", lambda *_: next(left))
    watched = Watched(*BYTES)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        calls = [stub.WatchHomeTimeline(REQUEST) for _ in drawn]
        for call in calls:
            assert [await call.read() for _ in EVENTS] == EVENTS
        draining = asyncio.create_task(server.drain())
        delays = set()
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call.read()
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            status = _status(ended.value)
            assert details(status)[0] == "SHUTTING_DOWN"
            retry = RetryInfo()
            assert status.details[1].Unpack(retry)
            delays.add(retry.retry_delay.ToTimedelta().total_seconds())
        assert delays == set(drawn)
        refused = await _refusal(stub.WatchHomeTimeline(REQUEST))
        assert refused == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        await draining


async def test_streams_are_limited_apart_from_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither takes the place of the other, and a stream that has ended makes room."""
    monkeypatch.setattr("core.rpc.calls.MAX_CALLS", 1)
    watched = Watched(*BYTES)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched, streams=Streams(most=2)) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        calls = [stub.WatchHomeTimeline(REQUEST) for _ in range(2)]
        for call in calls:
            await call.read()
        assert await stub.GetUser(pb.GetUserRequest(user_id=1)) == pb.GetUserResponse()
        refused = await _refusal(stub.WatchHomeTimeline(REQUEST))
        assert refused == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES")
        calls[0].cancel()
        await watched.closed.acquire()
        assert await stub.WatchHomeTimeline(REQUEST).read() == EVENTS[0]


async def test_streams_end_when_grpcs_server_stops_by_itself(
    each_server: GrpcServerKind,
) -> None:
    """Its connections would not last; clients open the streams again at the reopened port."""
    if each_server is GrpcServerKind.NATIVE:
        pytest.skip("the native server goes on")
    watched = Watched(*BYTES)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        call = stub.WatchHomeTimeline(REQUEST)
        assert [await call.read() for _ in EVENTS] == EVENTS
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(opening(b"/\xff"))
        assert await _refusal(call) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        again = stub.WatchHomeTimeline(REQUEST, wait_for_ready=True)
        assert await again.read() == EVENTS[0]
        writer.transport.abort()


def _series() -> Counter[tuple[str, ...]]:
    """Return the series of streams that are not zero."""
    return Counter(
        {
            (sample.name, *sample.labels.values()): int(sample.value)
            for family in REGISTRY.collect()
            if family.name.startswith("grpc_server")
            for sample in family.samples
            if sample.labels["grpc_type"] == "server_stream"
            and not sample.name.endswith(("_sum", "_bucket"))
        }
    )


async def test_streams_are_counted_with_their_messages() -> None:
    """By what ended them; of those that sent nothing no time is counted."""
    before = _series()
    watched = Watched(*BYTES)
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched) as server,
        _channel(server) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        cancelled, ended = (stub.WatchHomeTimeline(REQUEST) for _ in range(2))
        for call in (cancelled, ended):
            assert [await call.read() for _ in EVENTS] == EVENTS
        cancelled.cancel()
        await watched.closed.acquire()
        refused = stub.WatchHomeTimeline(pb.WatchHomeTimelineRequest())
        await _refusal(refused)
        await server.drain()
    labels = "server_stream", READ.full_name, "WatchHomeTimeline"
    assert _series() - before == {
        ("grpc_server_started_total", *labels): 3,
        ("grpc_server_handled_total", *labels, "Canceled"): 1,
        ("grpc_server_handled_total", *labels, "InvalidArgument"): 1,
        ("grpc_server_handled_total", *labels, "Unavailable"): 1,
        ("grpc_server_msg_received_total", *labels): 3,
        ("grpc_server_msg_sent_total", *labels): 4,
        ("grpc_server_handling_seconds_count", *labels): 2,
    }
