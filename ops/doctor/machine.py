"""Checks of this machine: open files, disk, and the ports of Fanfare's processes."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.rpc.health_probe import probe
from core.rpc.server_options import MAX_CONNECTIONS
from core.runtime.ports import bind_error, explain_bind_error
from core.settings import PREFIX, Settings
from gateway import listener
from ops.doctor.runner import Check
from ops.doctor.verdicts import Status, Verdict, verdict_of_sentence

GIB = 1 << 30
# Files that a process has open beside the connections of clients: logs, and its own connections.
OTHER_FILES = 200
NEEDED_FILES = MAX_CONNECTIONS + listener.MAX_CONNECTIONS + OTHER_FILES
WARN_FREE = 0.1
FAIL_FREE_BYTES = GIB // 8


@dataclass(frozen=True)
class ListeningProcess:
    """One of Fanfare's processes, as the operator has set it."""

    name: str
    target: str
    """host:port at which commands find it."""
    ports: Mapping[str, int]
    """The ports that it listens on, by the names of their settings; 0 means none."""
    is_local: bool
    """Whether commands find it on this machine."""


def machine_checks(settings: Settings) -> list[Check]:
    """Return the checks of this machine."""
    return [
        Check("open files", lambda: [files_verdict(resource.getrlimit(resource.RLIMIT_NOFILE)[1])]),
        Check("disk", lambda: [_check_disk(settings.state_dir)]),
        *(
            Check(process.name, lambda process=process: _check_process(process, settings))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            for process in _processes(settings)
        ),
    ]


def files_verdict(limit: int) -> Verdict:
    """Return the verdict on the hard limit of open files, to which the processes raise theirs."""
    if limit != resource.RLIM_INFINITY and limit < NEEDED_FILES:
        return Verdict(
            Status.WARN,
            f"a process may open {limit:,} files, fewer than its clients' connections may need",
            f"allow {NEEDED_FILES:,} (`ulimit -Hn`, or LimitNOFILE= of systemd)",
        )
    allowed = "any number of" if limit == resource.RLIM_INFINITY else f"{limit:,}"
    return Verdict(Status.OK, f"a process may open {allowed} files")


def disk_verdict(folder: Path, free: int, total: int) -> Verdict:
    """Return the verdict on the disk of a folder; free, total: in bytes."""
    text = f"{free / GIB:,.1f} GiB of {total / GIB:,.1f} GiB are free where {folder} is"
    if free < FAIL_FREE_BYTES or free < total * WARN_FREE:
        status = Status.FAIL if free < FAIL_FREE_BYTES else Status.WARN
        return Verdict(status, text, "free some space, or set FANFARE_STATE_DIR to another disk")
    return Verdict(Status.OK, text)


def _check_disk(folder: Path) -> Verdict:
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    usage = shutil.disk_usage(existing)
    return disk_verdict(folder, usage.free, usage.total)


def _processes(settings: Settings) -> list[ListeningProcess]:
    def process(name: str, target: str, *ports: str) -> ListeningProcess:
        numbers = {port: getattr(settings, port) for port in ports}
        is_local = target == settings.local_address(numbers[ports[0]])
        return ListeningProcess(name, target, numbers, is_local)

    worker = settings.local_address(settings.worker_port)
    return [
        process("write service", settings.write_service_target(), "write_port", "rest_write_port"),
        process("read service", settings.read_service_target(), "read_port", "rest_read_port"),
        process("fan-out worker", worker, "worker_port"),
    ]


def _check_process(process: ListeningProcess, settings: Settings) -> list[Verdict]:
    """Check that a process serves, or that its ports are free for it."""
    trouble = probe(process.target, tls_dir=settings.tls_dir)
    if trouble is None:
        return [Verdict(Status.OK, f"serves at {process.target}")]
    if trouble.endswith("NOT_SERVING"):
        return [Verdict(Status.FAIL, trouble, "see its log, which has the cause")]
    if not process.is_local:
        text = f"does not answer at {process.target}"
        return [Verdict(Status.FAIL, text, "start it, or correct where commands look for it")]
    taken = [
        verdict_of_sentence(explain_bind_error(settings.bind, port, error, other_port))
        for name, port in process.ports.items()
        if port and (error := bind_error(settings.bind, port)) is not None
        for other_port in [f"set {PREFIX}{name.upper()} to another port"]
    ]
    free = " and ".join(str(port) for port in process.ports.values() if port)
    return taken or [Verdict(Status.OK, f"does not run here; its ports are free: {free}")]
