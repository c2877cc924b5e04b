"""CPU time and memory of processes, from /proc (Linux)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from embedded.server import ServerProcess

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time that processes and their children have used so far.

    A child that has ended counts once its parent has waited for it.

    Raises:
        OSError: one of the processes has ended.
    """
    wanted = set(pids)
    ticks = 0
    for pid in wanted:
        # utime, stime, cutime and cstime of proc(5); the last two are of ended children.
        ticks += sum(int(field) for field in _stat_fields(pid)[11:15])
    ticks += sum(int(fields[11]) + int(fields[12]) for _, fields in _children(wanted))
    return ticks / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Return the memory of a process and its children.

    A page that several processes share counts in equal parts (PSS), so that the shared memory of
    Postgres counts once.

    Raises:
        OSError: the process has ended.
    """
    total = 0
    for each in [pid, *(child for child, _ in _children({pid}))]:
        with suppress(OSError) if each != pid else nullcontext():  # a child may have ended
            for line in (PROC / str(each) / "smaps_rollup").read_text().splitlines():
                name, _, size = line.partition(":")
                if name == "Pss":
                    total += int(size.split()[0]) * 1024
    return total


def _children(pids: set[int]) -> Iterator[tuple[int, list[str]]]:
    """Yield the children of the processes, without those in pids, and their _stat_fields()."""
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in pids:
            continue
        try:
            fields = _stat_fields(int(entry.name))
        except OSError:
            continue  # has ended in the meantime
        if int(fields[1]) in pids:
            yield int(entry.name), fields


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat, beginning with the third of proc(5), the state."""
    # The second field, the command in parentheses, may contain spaces.
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


@contextmanager
def cpu_used(servers: dict[str, ServerProcess]) -> Iterator[dict[str, float]]:
    """Yield a dict that is filled at the end of the context.

    It then has the CPU seconds that each server used in the context, by name.
    """
    before = {name: cpu_seconds([server.pid]) for name, server in servers.items()}
    used: dict[str, float] = {}
    yield used
    for name, server in servers.items():
        used[name] = cpu_seconds([server.pid]) - before[name]
