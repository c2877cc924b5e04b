"""Load by Python, for a smoke run where the generators are not installed.

It costs more CPU than the servers do, so no figure that counts is taken with it.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeVar

import grpc
import psycopg
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

CALL_SECONDS = 30.0
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Load:
    """What became of a load."""

    count: int
    per_second: float
    p50: float
    """Half of the calls were answered within so many milliseconds."""
    p99: float
    """And 99 of 100 within so many."""
    failed: int = 0
    """How many of the calls, where a row lets some fail."""
    codes: str = ""
    """How many calls ended with which status."""


def call(  # noqa: PLR0913, PLR0917 - each is a plain fact about the load
    target: str,
    method: MethodDescriptor,
    requests: Sequence[Message],
    calls: int,
    callers: int,
    metadata: Mapping[str, str],
) -> Load:
    """Make calls, with the requests one after another and over again; return how they went."""
    with grpc.insecure_channel(target) as channel:
        stub = _stub(channel, method)

        def one(request: Message) -> bool:
            try:
                stub(request, metadata=tuple(metadata.items()), timeout=CALL_SECONDS)
            except grpc.RpcError:
                return False
            return True

        return _load(one, list(islice(cycle(requests), calls)), callers)


def answer_bytes(target: str, method: MethodDescriptor, request: Message, calls: int) -> int:
    """Make the same call over and over; return the bytes of all answers, as they are framed."""
    with grpc.insecure_channel(target) as channel:
        stub = _stub(channel, method)
        return sum(5 + stub(request, timeout=CALL_SECONDS).ByteSize() for _ in range(calls))


def fetch(url: str, paths: Sequence[str], callers: int) -> Load:
    """Fetch each of the paths; return how it went."""

    def one(path: str) -> bool:
        try:
            with urllib.request.urlopen(url + path, timeout=CALL_SECONDS) as answer:  # noqa: S310
                answer.read()
        except OSError:
            return False
        return True

    return _load(one, paths, callers)


def execute(dsn: str, statements: str, times: int) -> float:
    """Return how often a second the statements are executed."""
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


def _load(one: Callable[[_Item], bool], items: Sequence[_Item], callers: int) -> Load:
    def timed(item: _Item) -> tuple[float, bool]:
        started = time.perf_counter()
        succeeded = one(item)
        return (time.perf_counter() - started) * 1000, succeeded

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        results = list(pool.map(timed, items))
    seconds = time.perf_counter() - started
    took = sorted(milliseconds for milliseconds, _ in results)
    last = len(took) - 1
    return Load(
        count=len(took),
        per_second=len(took) / seconds,
        p50=took[last // 2],
        p99=took[last * 99 // 100],
        failed=sum(not succeeded for _, succeeded in results),
    )
