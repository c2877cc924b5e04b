"""Several read processes on one port, among which the kernel deals out the connections."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import sys
from multiprocessing.connection import wait

from core.process import Serve, StartError, run, start_errors
from core.settings import load_settings


def run_copies(serve: Serve) -> None:
    """Run FANFARE_READ_PROCESSES processes of serve; otherwise like core.process.run().

    When one of them ends, all do; when this one is killed, they drain.
    """
    with start_errors():
        settings = load_settings()
        count = settings.read_processes
        if count > 1 and not settings.share_ports:
            _check_port(settings.bind, settings.read_port)
    if count == 1:
        run(serve)
        return
    # Spawned: gRPC does not survive a fork.
    context = multiprocessing.get_context("spawn")
    copies = [context.Process(target=_copy) for _ in range(count)]

    def stop(*_: object) -> None:
        for copy in copies:
            if copy.pid is not None:
                copy.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for copy in copies:
        copy.start()
    wait([copy.sentinel for copy in copies])
    stop()
    for copy in copies:
        copy.join()
    # A signal to the whole group reaches a copy twice, the second time perhaps after its drain.
    if failed := sum(copy.exitcode not in {0, -signal.SIGTERM} for copy in copies):
        sys.exit(
            f"fanfare: {failed} of {count} read processes failed, and all were stopped: "
            "the lines above say why."
        )


def _copy() -> None:
    # A spawned process does not have the module that was run as __main__.
    from read_service.__main__ import serve  # noqa: PLC0415

    run(serve)


def _check_port(bind: str, port: int) -> None:
    """Raise StartError if somebody else has the port: they would share it unnoticed."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind.strip("[]"), port))
        except OSError as error:
            raise StartError(
                f"cannot listen on {bind}:{port}: {error.strerror}; stop the process that has "
                "the port, or set another one."
            ) from error
