"""Load by clients written in Python, for smoke runs without the load generators.

These clients use more CPU than the servers, so no published figure is measured with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeVar
from urllib.request import Request

import grpc
import psycopg
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core.rpc.tls import open_channel, open_url

CALL_SECONDS = 30.0
# What gRPC puts before each message: a flag and the length.
FRAME_BYTES = 5
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class LoadResult:
    """The outcome of a load."""

    count: int
    """How many calls were made."""
    per_second: float
    p50: float
    """Median latency in milliseconds."""
    p99: float
    """99th percentile of the latency in milliseconds."""
    failed: int = 0
    """How many of the calls failed."""
    codes: str = ""
    """How many calls ended with each status, as text for people."""


def call(  # noqa: PLR0913, PLR0917 - each is a plain fact about the load
    target: str,
    method: MethodDescriptor,
    requests: Sequence[Message],
    calls: int,
    callers: int,
    metadata: Mapping[str, str],
) -> LoadResult:
    """Make the given number of gRPC calls, taking the requests in turn, and return the outcome."""
    with open_channel(target, None) as channel:
        stub = _stub(channel, method)

        def one(request: Message) -> bool:
            try:
                stub(request, metadata=tuple(metadata.items()), timeout=CALL_SECONDS)
            except grpc.RpcError:
                return False
            return True

        return _run_load(one, list(islice(cycle(requests), calls)), callers)


def answer_bytes(target: str, method: MethodDescriptor, request: Message, calls: int) -> int:
    """Make the same call repeatedly; return the bytes of all answers with their framing."""
    with open_channel(target, None) as channel:
        stub = _stub(channel, method)
        return sum(
            FRAME_BYTES + stub(request, timeout=CALL_SECONDS).ByteSize() for _ in range(calls)
        )


def request(url: str, lines: Sequence[str], callers: int, post_path: str) -> LoadResult:
    """Fetch each of these paths once, or post each body once to a path; return the outcome."""

    def one(line: str) -> bool:
        asked = Request(url + (post_path or line))  # noqa: S310 - our own URL
        if post_path:
            asked.data = line.encode()
            asked.add_header("Content-Type", "application/json")
        try:
            with open_url(asked, None, CALL_SECONDS) as answer:
                answer.read()
        except OSError:
            return False
        return True

    return _run_load(one, lines, callers)


def execute(dsn: str, statements: str, times: int) -> float:
    """Execute SQL statements repeatedly; return the executions per second."""
    started = time.perf_counter()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(times):
            connection.execute(statements.encode())
    return times / (time.perf_counter() - started)


def _stub(channel: grpc.Channel, method: MethodDescriptor) -> Callable[..., Message]:
    stub: Callable[..., Message] = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return stub


def _run_load(one: Callable[[_Item], bool], items: Sequence[_Item], callers: int) -> LoadResult:
    """Call `one` with each item, in `callers` threads; it returns whether the call succeeded."""

    def timed(item: _Item) -> tuple[float, bool]:
        started = time.perf_counter()
        succeeded = one(item)
        return (time.perf_counter() - started) * 1000, succeeded

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        results = list(pool.map(timed, items))
    seconds = time.perf_counter() - started
    latencies = sorted(milliseconds for milliseconds, _ in results)
    last = len(latencies) - 1
    return LoadResult(
        count=len(latencies),
        per_second=len(latencies) / seconds,
        p50=latencies[last // 2],
        p99=latencies[last * 99 // 100],
        failed=sum(not succeeded for _, succeeded in results),
    )
