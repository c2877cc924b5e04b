"""The raw limit of the fan-out: recorded commands, replayed over one socket to a second Valkey."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from bench.harness import Bench
from embedded.ports import HOST
from embedded.stack import free_ports
from embedded.valkey import prepare_valkey

_MARK = b"end of the recorded commands"
_ECHO = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(_MARK), _MARK)


def replay_commands(url: str, commands: bytes) -> float:
    """Send commands and return the seconds until the last reply.

    Args:
        url: a redis:// URL.
        commands: encoded in the Redis protocol.
    """
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 6379)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sending = threading.Thread(target=connection.sendall, args=(commands + _ECHO,))
        started = time.perf_counter()
        sending.start()
        end = b""
        while _MARK not in end:
            end = end[-len(_MARK) :] + connection.recv(1 << 20)
        seconds = time.perf_counter() - started
        sending.join()
    return seconds


class CommandRecorder:
    """Records the commands that change the system's Valkey, from its append-only file.

    The file has all commands that had an effect, encoded in the Redis protocol: pushes, trims,
    tweet cache entries, checkpoints, and the transactions around them.
    """

    def __init__(self, bench: Bench) -> None:
        """Begin to record, and keep a copy of the data as they are now.

        Valkey first rewrites its append-only file, so whatever is appended later is the recording.
        """
        self._folder = bench.folder / "valkey" / "data"
        self._copy = bench.folder / "valkey-copy"
        with Redis.from_url(bench.settings.redis_address()) as redis:
            redis.config_set("auto-aof-rewrite-percentage", 0)
            redis.bgrewriteaof()
            while any(
                redis.info("persistence")[name]
                for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
            ):
                time.sleep(0.01)
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._folder, self._copy / "data")
        self._file, self._start = self._find_current_file()

    def commands(self) -> bytes:
        """Return the commands recorded so far."""
        with self._file.open("rb") as file:
            file.seek(self._start)
            return file.read()

    @contextmanager
    def start_copy(self) -> Iterator[str]:
        """Start a second Valkey with the data from before the recording, and yield its URL."""
        (port,) = free_ports(1)
        server = prepare_valkey(self._copy, port)
        server.start()
        try:
            yield f"redis://{HOST}:{port}/0"
        finally:
            server.stop()

    def _find_current_file(self) -> tuple[Path, int]:
        """Return the file to which Valkey appends, and its size."""
        (manifest,) = self._folder.glob("appendonlydir/*.manifest")
        # Each line is "file <name> seq <number> type <b or i>". The last file is the current one.
        name = manifest.read_text().splitlines()[-1].split(" ")[1]
        file = manifest.parent / name
        return file, file.stat().st_size
