"""The ports for metrics and probes: one for each process, counted from FANFARE_METRICS_PORT.

The write service has that port, the read service the next one, and the worker the one after that.
Of a read service with several processes, each further one has a port that is CHILD_STEP higher than
the one before. The processes cannot share a port, because each has metrics of its own.
"""

from __future__ import annotations

from enum import IntEnum

from core.settings import Settings

CHILD_STEP = 10


class Program(IntEnum):
    """A program with metrics; the value is the distance of its port from FANFARE_METRICS_PORT."""

    WRITE = 0
    READ = 1
    WORKER = 2


def metrics_port(settings: Settings, program: Program) -> int:
    """Return the port of a process that runs the program; 0 if metrics are off."""
    return settings.metrics_port and settings.metrics_port + program


def with_metrics_port_of(settings: Settings, child: int) -> Settings:
    """Return the settings with the metrics port of one of several prefork processes."""
    port = settings.metrics_port and settings.metrics_port + child * CHILD_STEP
    return settings.model_copy(update={"metrics_port": port})


def metrics_ports(first: int, read_processes: int) -> dict[Program, list[int]]:
    """Return the ports of every process, by its program.

    Args:
        first: FANFARE_METRICS_PORT, which is not 0.
        read_processes: FANFARE_READ_PROCESSES.
    """
    children = {Program.WRITE: 1, Program.READ: read_processes, Program.WORKER: 1}
    return {
        program: [first + program + child * CHILD_STEP for child in range(count)]
        for program, count in children.items()
    }


def metrics_addresses(settings: Settings) -> dict[str, list[str]]:
    """Return host:port of every process, by the name of its program; empty if metrics are off."""
    if not settings.metrics_port:
        return {}
    ports = metrics_ports(settings.metrics_port, settings.read_processes)
    return {
        program.name.lower(): [settings.local_address(port) for port in each]
        for program, each in ports.items()
    }
