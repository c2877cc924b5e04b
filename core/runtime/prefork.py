"""Prefork: several processes on the same ports; the kernel spreads connections among them."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from core.runtime.ports import bind_error, explain_bind_error
from core.runtime.process import Serve, StartError, run, start_errors
from core.settings_loading import load_settings

# How a process has ended that was told to stop.
STOPPED = {0, -signal.SIGTERM, -signal.SIGINT}


def run_prefork(serve: Serve, module: str) -> None:
    """Run serve in FANFARE_READ_PROCESSES processes, each as core.runtime.process.run() does.

    When one of them ends, all are stopped. When this parent process is killed, its children drain.

    Args:
        serve: what each process runs.
        module: the module that defines serve. A spawned process imports it by this name, since
            the parent ran it as __main__.
    """
    with start_errors():
        settings = load_settings()
        count = settings.read_processes
        if count > 1 and not settings.share_ports:
            _check_ports(settings.bind, settings.read_port, settings.rest_read_port)
    if count == 1:
        run(serve)
        return
    # Spawned, since gRPC does not survive a fork.
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_run_imported, args=(module, child)) for child in range(count)
    ]
    started = _run_all(processes)
    # A signal to the whole process group reaches each child twice: from the sender, and from the
    # parent. One of them may kill the child before it handles signals, or after its drain, so that
    # is not a failure.
    if failed := sum(process.exitcode not in STOPPED for process in started):
        sys.exit(
            f"fanfare: {failed} of {count} read processes failed, so all were stopped; "
            "see the log above for the reason."
        )


def _run_all(processes: Sequence[SpawnProcess]) -> list[SpawnProcess]:
    """Run processes until one of them ends, or a signal comes; stop them and return them.

    Those that were not started, because the signal came before, are left out.
    """
    started: list[SpawnProcess] = []
    is_stopping = False

    def stop(*_: object) -> None:
        nonlocal is_stopping
        is_stopping = True
        for process in started:
            process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for process in processes:
        if is_stopping:
            break
        process.start()
        started.append(process)
    # If the signal came during start(), the process that was being started was not told to stop.
    if not is_stopping:
        wait([process.sentinel for process in started])
    stop()
    for process in started:
        process.join()
    return started


def _run_imported(module: str, child: int) -> None:
    serve: Serve = importlib.import_module(module).serve
    run(serve, child)


def _check_ports(bind: str, *ports: int) -> None:
    """Check that no other process listens on the ports, which SO_REUSEPORT would silently share.

    Port 0 means that the system chooses the port, and always passes.

    Raises:
        StartError: a port is taken, or the address is not this machine's.
    """
    for port in ports:
        if (error := bind_error(bind, port)) is not None:
            cure = "set FANFARE_READ_PORT or FANFARE_REST_READ_PORT to another port"
            raise StartError(explain_bind_error(bind, port, error, cure)) from error
