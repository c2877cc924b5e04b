"""A read process that does nothing but answer: what any answer costs with these parts.

`python -m bench.noop FILE` serves ReadService at FANFARE_READ_PORT by the same server, options,
validation and error handling as the read service, and answers GetHomeTimeline with the bytes that
the file, a BatchGetHomeTimelinesResponse, has for the user.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

from fanfare.read.v1 import read_pb2 as r

from core.auth.call_context import Context
from core.rpc.handlers import Handlers
from core.rpc.server import GrpcServer
from core.runtime.process import run
from core.settings import Settings


class Noop:
    """The ReadService's GetHomeTimeline, without reading anything."""

    def __init__(self, answers: r.BatchGetHomeTimelinesResponse) -> None:
        self._answers = {}
        for timeline in answers.timelines:
            answer = r.GetHomeTimelineResponse(
                tweets=timeline.tweets, next_page_token=timeline.next_page_token
            )
            self._answers[timeline.user_id] = answer.SerializeToString()

    async def GetHomeTimeline(  # noqa: N802 - the contract's name
        self, request: r.GetHomeTimelineRequest, _context: Context
    ) -> bytes:
        """Return the bytes."""
        return self._answers[request.user_id]

    def __getattr__(self, name: str) -> object:
        """Return something for the methods that nobody calls."""
        return None


async def serve(serialised: bytes, settings: Settings, stopping: asyncio.Event) -> None:
    """Serve the answers until stopping is set."""
    answers = r.BatchGetHomeTimelinesResponse.FromString(serialised)
    handlers = Handlers()
    handlers.add_service(r.DESCRIPTOR.services_by_name["ReadService"], Noop(answers))
    shared = settings.read_processes > 1
    server = GrpcServer(settings.bind, settings.read_port, handlers, shared=shared)
    await server.start()
    await stopping.wait()
    await server.drain()


if __name__ == "__main__":
    run(partial(serve, Path(sys.argv[1]).read_bytes()))
