"""Prefork: several processes on one port; the kernel distributes the connections among them."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import socket
import sys
from multiprocessing.connection import wait

from core.runtime.process import Serve, StartError, run, start_errors
from core.settings import load_settings


def run_prefork(serve: Serve, module: str) -> None:
    """Run FANFARE_READ_PROCESSES processes of serve; otherwise like core.runtime.process.run().

    When one of them ends, all are stopped; when this one is killed, they drain.

    Args:
        serve: what each process runs.
        module: where it is defined. A spawned process imports it from there, since it does not
            have the module that was run as __main__.
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
    processes = [context.Process(target=_run_imported, args=(module,)) for _ in range(count)]

    def stop(*_: object) -> None:
        for process in processes:
            if process.pid is not None:
                process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for process in processes:
        process.start()
    wait([process.sentinel for process in processes])
    stop()
    for process in processes:
        process.join()
    # A signal to the whole group reaches a process twice, the second time perhaps after its drain.
    if failed := sum(process.exitcode not in {0, -signal.SIGTERM} for process in processes):
        sys.exit(
            f"fanfare: {failed} of {count} read processes failed, and all were stopped: "
            "the lines above say why."
        )


def _run_imported(module: str) -> None:
    serve: Serve = importlib.import_module(module).serve
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
