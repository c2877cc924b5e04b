"""A fake service that sends streams, and a client that reads them as Server-Sent Events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as pb
from helpers.grpc_server import Watched

from .fakes import Client, Fake

DEADLINE_SECONDS = 8.0
PATH = "/timeline/7/stream"
ROUTE = "/timeline/{user_id}/stream"
EVENTS = [
    pb.WatchHomeTimelineResponse(tweet=Tweet(id=1, content="hello"), resume_token="a"),
    pb.WatchHomeTimelineResponse(removed_tweet_id=2, resume_token="b"),
    pb.WatchHomeTimelineResponse(heartbeat=pb.Heartbeat(), resume_token="b"),
]
BYTES = [event.SerializeToString() for event in EVENTS]
LARGE = pb.WatchHomeTimelineResponse(tweet=Tweet(content="x" * 10_000)).SerializeToString()
SECOND = 'id: b\nevent: removed\ndata: {"removed_tweet_id": "2"}\n\n'
THIRD = ": heartbeat\n\n"


def watched_by(read: Fake, *events: bytes) -> Watched:
    """Let a fake service send these events."""
    watched = Watched(*events)
    read.streams["WatchHomeTimeline"] = watched.WatchHomeTimeline
    return watched


@asynccontextmanager
async def opened(
    queries: Client, session: aiohttp.ClientSession, path: str = PATH, **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield the answer to a request for a stream, of which the first line was read."""
    url = f"http://127.0.0.1:{queries.port}{path}"
    async with asyncio.timeout(DEADLINE_SECONDS), session.get(url, headers=headers) as answer:
        assert answer.status == 200
        name, _, delay = (await read_event(answer)).partition(": ")
        assert name == "retry"
        assert 1000 <= int(delay) <= 5000
        yield answer


async def read_event(answer: aiohttp.ClientResponse) -> str:
    """Return the next event, up to the empty line after it; "" at the end."""
    text = b""
    while not text.endswith(b"\n\n"):
        line = await answer.content.readline()
        if not line:
            return text.decode()
        text += line
    return text.decode()
