"""How each of Fanfare's processes starts and stops."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import uvloop

from core.runtime.logs import start_log
from core.runtime.metrics import report
from core.settings import Settings, SettingsError, load_settings

LOG = logging.getLogger(__name__)

Serve = Callable[[Settings, asyncio.Event], Awaitable[None]]


class StartError(Exception):
    """The process cannot start; the text is one sentence with the cause and the cure."""


def run(serve: Serve) -> None:
    """Run serve(settings, stopping) until it returns; stopping is set by SIGTERM and by SIGINT.

    serve must drain and return once stopping is set. Exits with status 1 and one sentence on
    stderr when the settings or the surroundings do not let the process start.
    """
    with start_errors():
        settings = load_settings()
        start_log(settings.log_level)
        if settings.auth_keys is None:
            LOG.warning("authentication is off: whoever reaches %s is served", settings.bind)
        if settings.tls_dir is None:
            LOG.warning("TLS is off: what goes to and from %s can be read", settings.bind)
        # The usual 1,024 is for programs that call select(); connections are bounded by us.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # where the system does not mean what it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        uvloop.run(_serve_until_signal(serve, settings))


@contextmanager
def start_errors() -> Iterator[None]:
    """Exit with status 1 and one sentence on stderr for what does not let a process start."""
    try:
        yield
    except (SettingsError, StartError) as error:
        sys.exit(f"fanfare: {error}")


async def _serve_until_signal(serve: Serve, settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if (parent := multiprocessing.parent_process()) is not None:
        # One of several copies: the parent's end, even by SIGKILL, is theirs too.
        loop.add_reader(parent.sentinel, _parent_ended, stopping, parent.sentinel)
    reporting = asyncio.create_task(report())
    try:
        await serve(settings, stopping)
    finally:
        reporting.cancel()
        await asyncio.wait([reporting])


def _parent_ended(stopping: asyncio.Event, sentinel: int) -> None:
    stopping.set()
    asyncio.get_running_loop().remove_reader(sentinel)
