"""How each of Fanfare's processes starts, and how it stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Protocol

import uvloop

from core.runtime.build_info import export_build_info
from core.runtime.environment import ignore_foreign_variables
from core.runtime.logs import start_log
from core.runtime.metrics import report
from core.runtime.metrics_ports import with_metrics_port_of
from core.runtime.tasks import running
from core.settings import Settings, SettingsError
from core.settings_loading import load_settings

LOG = logging.getLogger(__name__)
# How many objects are created, and not deleted, before Python looks for garbage among them. Its
# default of 700 is less than the objects of one batch: a message of Kafka alone has a dozen.
GARBAGE_THRESHOLD = 20_000

Serve = Callable[[Settings, asyncio.Event], Awaitable[None]]


class StartError(Exception):
    """The process cannot start; the message is one sentence with the cause and what to do."""


class Drainable(Protocol):
    """A server that can be started and drained."""

    async def start(self) -> None:
        """Listen. Raises StartError if that is not possible."""

    async def drain(self) -> None:
        """Stop listening, and return when the calls under way have ended; no-op if not started."""


def run(serve: Serve, child: int = 0) -> None:
    """Run serve(settings, stopping) until it returns; SIGTERM and SIGINT set stopping.

    serve must drain and return once stopping is set. If the settings or the environment do not let
    the process start, it exits with status 1 and one sentence on stderr.

    Args:
        serve: what the process runs.
        child: which of several prefork processes it is; the metrics port in the settings is its
            own.
    """
    ignored = ignore_foreign_variables()
    with start_errors():
        settings = with_metrics_port_of(load_settings(), child)
        export_build_info(settings.revision)
        start_log(settings.log_level, settings.log_format)
        if ignored:
            LOG.warning(
                "environment variables ignored; FANFARE_POSTGRES_DSN and FANFARE_TRACES say how to "
                "connect: variables=%s",
                ",".join(ignored),
            )
        if settings.auth_keys is None:
            LOG.warning("authentication is off: anyone who can reach %s is served", settings.bind)
        if settings.tls_dir is None:
            LOG.warning("TLS is off: traffic to and from %s is not encrypted", settings.bind)
        # The usual limit of 1,024 files is for programs that call select(). Fanfare's own limits
        # on connections are higher.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # some systems report a limit that they do not allow
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        _spare_garbage_collector()
        uvloop.run(_serve_until_signal(serve, settings))


def _spare_garbage_collector() -> None:
    """Have Python's garbage collector look at fewer objects, and less often.

    Most objects of a process are those of its modules, which exist until it ends. While batches of
    tweets were created or applied, the collector used to go through all of them again and again.
    That was a sixth of the write process's CPU and a quarter of the worker's, and nothing else ran
    for up to 55 ms each time.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])


@contextmanager
def start_errors() -> Iterator[None]:
    """Turn an error that keeps a process from starting into exit status 1 and one sentence."""
    try:
        yield
    except (SettingsError, StartError) as error:
        sys.exit(f"fanfare: {error}")


@asynccontextmanager
async def serving(*servers: Drainable) -> AsyncIterator[None]:
    """Start the servers one after another; drain all of them concurrently when the context ends."""
    try:
        for server in servers:
            await server.start()
        yield
    finally:
        await asyncio.gather(*(server.drain() for server in servers))


async def _serve_until_signal(serve: Serve, settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if (parent := multiprocessing.parent_process()) is not None:
        # One of several prefork processes: it stops with its parent, even after a SIGKILL.
        loop.add_reader(parent.sentinel, _parent_ended, stopping, parent.sentinel)
    async with running(report()):
        await serve(settings, stopping)


def _parent_ended(stopping: asyncio.Event, sentinel: int) -> None:
    stopping.set()
    asyncio.get_running_loop().remove_reader(sentinel)
