"""Replace a process by a successor on the same ports, with the steps of docs/operations.md."""

from __future__ import annotations

import uuid

from embedded.server import ServerProcess
from ops.system import System

# In the order in which docs/operations.md says to replace them.
PACKAGES = {
    "worker": "fanout_worker",
    "read": "read_service",
    "write": "write_service",
}


def replace(system: System, name: str, **settings: str) -> None:
    """Start a successor, wait until it listens, and stop the old process.

    Args:
        system: A system with FANFARE_SHARE_PORTS.
        name: The process to replace.
        settings: Settings of the successor that differ from those of the system.
    """
    run = f"{name}-{uuid.uuid4().hex[:8]}"
    log = system.settings.state_dir / "logs" / f"{run}.log"
    # REST is served last, where there is any.
    last = "serving gRPC port=" if name == "worker" else "serving REST port="
    successor: ServerProcess = system._process(
        run, PACKAGES[name], lambda: last in log.read_text(), **settings
    )
    successor.start()
    before = system.processes[name]
    system.processes[name] = successor
    before.terminate()
    assert before.wait() == 0
