"""A read service that does no work, to measure the lowest cost of an answer with this server.

`python -m bench.noop FILE` serves the ReadService on FANFARE_READ_PORT, with the same server,
options, validation and error handling as the read service. FILE holds a
BatchGetHomeTimelinesResponse; GetHomeTimeline answers with the serialised bytes of the user's
timeline in it. WatchHomeTimeline sends what a new tweet makes necessary, once a second: the removal
of the oldest tweet of the timeline, its first tweet, and a heartbeat.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

from fanfare.read.v1 import read_pb2 as r

from core.auth.call_context import Context
from core.rpc.handlers import Handlers
from core.rpc.server_choice import grpc_server
from core.runtime.process import run
from core.settings import Settings

EVENT_SECONDS = 1.0
# As long as the token of 20 tweets.
TOKEN = "x" * 284


class NoopReadService:
    """A ReadService that implements only two methods, and answers them with stored bytes."""

    def __init__(self, answers: r.BatchGetHomeTimelinesResponse) -> None:
        """Serialise the answers."""
        self._answers = {}
        self._events: dict[int, list[bytes]] = {}
        for timeline in answers.timelines:
            answer = r.GetHomeTimelineResponse(
                tweets=timeline.tweets, next_page_token=timeline.next_page_token
            )
            self._answers[timeline.user_id] = answer.SerializeToString()
            if timeline.tweets:
                newest, oldest = timeline.tweets[0], timeline.tweets[-1].id
                events = (
                    r.WatchHomeTimelineResponse(removed_tweet_id=oldest, resume_token=TOKEN),
                    r.WatchHomeTimelineResponse(tweet=newest, resume_token=TOKEN),
                    r.WatchHomeTimelineResponse(heartbeat=r.Heartbeat(), resume_token=TOKEN),
                )
                self._events[timeline.user_id] = [event.SerializeToString() for event in events]

    async def GetHomeTimeline(  # noqa: N802 - the contract's name
        self, request: r.GetHomeTimelineRequest, _context: Context
    ) -> bytes:
        """Return the stored answer for the user."""
        return self._answers[request.user_id]

    async def WatchHomeTimeline(  # noqa: N802
        self, request: r.WatchHomeTimelineRequest, _context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Yield a heartbeat, and then the stored events for the user once a second."""
        yield r.WatchHomeTimelineResponse(heartbeat=r.Heartbeat()).SerializeToString()
        while True:
            await asyncio.sleep(EVENT_SECONDS)
            for event in self._events.get(request.user_id, ()):
                yield event

    def __getattr__(self, name: str) -> object:
        """Stand in for the other methods, which nobody calls."""
        return None


async def serve(serialised: bytes, settings: Settings, stopping: asyncio.Event) -> None:
    """Serve the answers until stopping is set."""
    answers = r.BatchGetHomeTimelinesResponse.FromString(serialised)
    handlers = Handlers()
    handlers.add_service(r.DESCRIPTOR.services_by_name["ReadService"], NoopReadService(answers))
    shared = settings.read_processes > 1
    server = grpc_server(
        settings.grpc_server, settings.bind, settings.read_port, handlers, shared=shared
    )
    await server.start()
    await stopping.wait()
    await server.drain()


if __name__ == "__main__":
    run(partial(serve, Path(sys.argv[1]).read_bytes()))
