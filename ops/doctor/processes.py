"""Checks of Fanfare's own processes: their ports, and the version that they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from core.rpc.health_probe import probe
from core.runtime.build_info import version
from core.runtime.metrics_ports import Program, metrics_ports
from core.runtime.ports import bind_error, explain_bind_error
from core.settings import PREFIX, Settings
from ops.doctor.runner import Check
from ops.doctor.secret_files import TLS_CHECK
from ops.doctor.verdicts import Status, Verdict, verdict_of_sentence
from ops.scraper import scrapers


@dataclass(frozen=True)
class ListeningProcess:
    """One of Fanfare's processes, as the operator has set it."""

    name: str
    target: str
    """host:port at which commands find it."""
    ports: list[tuple[str, int]]
    """The ports that it listens on, each with the name of its setting."""
    is_local: bool
    """Whether commands find it on this machine."""


def process_checks(settings: Settings) -> list[Check]:
    """Return the checks of the processes."""
    checks = [
        Check(process.name, partial(_check_process, process, settings), TLS_CHECK)
        for process in _processes(settings)
    ]
    return [*checks, Check("versions", partial(_check_versions, settings), TLS_CHECK)]


def versions_verdict(own: str, running: Mapping[str, str]) -> Verdict:
    """Return the verdict on the versions of the processes.

    Args:
        own: the version of this command.
        running: the version of each process that tells it, by its name.
    """
    other = [f"{name} is {told}" for name, told in running.items() if told != own]
    if other:
        text = f"this command is {own}, but {', '.join(other)}"
        return Verdict(Status.WARN, text, "finish the upgrade (docs/operations.md, Upgrades)")
    names = ", ".join(running) or "no process tells its version"
    return Verdict(Status.OK, f"this command is {own}; {'the same: ' * bool(running)}{names}")


def _check_versions(settings: Settings) -> list[Verdict]:
    return [versions_verdict(version(), _versions(settings))]


def _versions(settings: Settings) -> dict[str, str]:
    found = {}
    for scraper in scrapers(settings):
        scraper.scrape()
        for told in scraper.observe().window.latest_by("fanfare_build_info", "version"):
            found[scraper.name] = told
    return found


def _processes(settings: Settings) -> list[ListeningProcess]:
    first = settings.metrics_port
    metrics = metrics_ports(first, settings.read_processes) if first else {}

    def process(name: str, program: Program, target: str, *names: str) -> ListeningProcess:
        ports = [(port, getattr(settings, port)) for port in names]
        ports += [("metrics_port", port) for port in metrics.get(program, ())]
        is_local = target == settings.local_address(ports[0][1])
        return ListeningProcess(name, target, [each for each in ports if each[1]], is_local)

    write, read = settings.write_service_target(), settings.read_service_target()
    worker = settings.local_address(settings.worker_port)
    return [
        process("write service", Program.WRITE, write, "write_port", "rest_write_port"),
        process("read service", Program.READ, read, "read_port", "rest_read_port"),
        process("fan-out worker", Program.WORKER, worker, "worker_port"),
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
        for name, port in process.ports
        if (error := bind_error(settings.bind, port)) is not None
        for other_port in [f"set {PREFIX}{name.upper()} to another port"]
    ]
    free = ", ".join(str(port) for _, port in process.ports)
    return taken or [Verdict(Status.OK, f"does not run here; its ports are free: {free}")]
