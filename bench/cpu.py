"""CPU time of processes, from /proc (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.server import ServerProcess

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time of processes so far, with that of their children.

    Children that have ended count as soon as their parent has waited for them. Raises OSError
    when a process is gone.
    """
    wanted = set(pids)
    ticks = 0
    for pid in wanted:
        # utime, stime, and those of the children that have been waited for.
        ticks += sum(int(field) for field in _fields(pid)[11:15])
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in wanted:
            continue
        try:
            fields = _fields(int(entry.name))
        except OSError:
            continue  # ended meanwhile
        if int(fields[1]) in wanted:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _fields(pid: int) -> list[str]:
    """Return the fields of the process's stat from its state on, the third of proc(5)."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


@contextmanager
def cpu_used(servers: dict[str, ServerProcess]) -> Iterator[dict[str, float]]:
    """Yield a dict that at the end holds the CPU seconds that each server used meanwhile."""
    before = {name: cpu_seconds([server.pid]) for name, server in servers.items()}
    used: dict[str, float] = {}
    yield used
    for name, server in servers.items():
        used[name] = cpu_seconds([server.pid]) - before[name]
