"""Reports NOT_SERVING while something that the process needs is in trouble."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from prometheus_client import Gauge

from core.rpc.server import GrpcServer

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
# How often while there is trouble, so that a process is used soon after its start.
TROUBLE_LOOK_SECONDS = 0.1

# Returns what is wrong as one sentence, or None if nothing is.
Trouble = Callable[[], str | None]

SERVING = Gauge(
    "fanfare_serving",
    "Whether the health of this process, or of a part with a name, is SERVING: 1 or 0.",
    ["part"],
)


async def report_health(server: GrpcServer, *troubles: Trouble, part: str = "") -> None:
    """Check for trouble once a second or more often, and report it by the server and in the log.

    It does so until it is cancelled. That must be before the drain, which reports NOT_SERVING: a
    check still running could undo that.

    Args:
        server: a server that has been started.
        troubles: the checks, in order; the first trouble found is the reason in the log.
        part: whose health to report, as named by GrpcServer.add_part(); "" for all services.
    """
    name = part or "process"
    was_serving = True
    while True:
        reason = next(filter(None, (trouble() for trouble in troubles)), None)
        SERVING.labels(part or "process").set(reason is None)
        if was_serving and reason is not None:
            LOG.error("NOT_SERVING: part=%s reason=%s", name, reason)
        elif not was_serving and reason is None:
            LOG.info("SERVING again: part=%s", name)
        if was_serving != (reason is None):
            was_serving = reason is None
            await server.set_serving(serving=was_serving, part=part)
        await asyncio.sleep(LOOK_SECONDS if was_serving else TROUBLE_LOOK_SECONDS)
