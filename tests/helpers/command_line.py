"""The `fanfare` command, run as an operator runs it."""

from __future__ import annotations

import os
import subprocess

from core.settings import PREFIX, Settings
from embedded.ports import free_port_with, free_ports

# The settings that say where Fanfare's own processes listen.
PORTS = ("write_port", "read_port", "worker_port", "rest_write_port", "rest_read_port")
_TIMEOUT_SECONDS = 240


def free_settings() -> dict[str, str]:
    """Return free ports for the processes of a system, by the names of their settings."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    return ports | {"metrics_port": str(free_port_with(range(3)))}


class CommandLine:
    """Runs `fanfare` with the addresses of a running system in its environment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(
        self, *arguments: str, standard_input: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `fanfare` with these arguments; return its exit status and output."""
        settings = self._settings
        names = {name: str(getattr(settings, name)) for name in (*PORTS, "metrics_port")} | {
            "postgres_dsn": settings.primary_dsn(),
            "postgres_replica_dsn": settings.replica_dsn(),
            "redis_url": settings.redis_address(),
            "kafka_bootstrap_servers": settings.kafka_address(),
            "grpc_server": settings.grpc_server,
        }
        if settings.auth_keys is not None:
            names["auth_keys"] = str(settings.auth_keys)
            names["tls_dir"] = str(settings.tls_dir)
        own = {f"{PREFIX}{name.upper()}": value for name, value in names.items()}
        done = subprocess.run(
            ["fanfare", *arguments],
            env=dict(os.environ) | own | {"COLUMNS": "200"},
            input=standard_input,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
        output, errors = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, output, errors)
