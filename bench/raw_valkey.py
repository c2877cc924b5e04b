"""The raw limit of the fan-out: the same commands, prepared, sent to a Valkey by one socket."""

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

from bench.session import Bench
from embedded.ports import HOST
from embedded.stack import free_ports
from embedded.valkey import prepare_valkey

_MARK = b"the raw limit ends here"
_ECHO = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(_MARK), _MARK)


def send(url: str, commands: bytes) -> float:
    """Return the seconds from the first of the packed commands to the last reply."""
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


class Recorder:
    """What a Valkey writes into its append-only file from now on.

    Those are the commands that had an effect, as the protocol packs them: pushes, trims, bodies
    and progress keys, with the transactions around them.
    """

    def __init__(self, bench: Bench) -> None:
        """Have the file written anew, so that it begins with all data as they are now."""
        self._folder = bench.folder / "valkey" / "data"
        self._copy = bench.folder / "twin"
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
        self._file, self._start = self._current()

    def commands(self) -> bytes:
        """Return what has been written since."""
        with self._file.open("rb") as file:
            file.seek(self._start)
            return file.read()

    @contextmanager
    def twin(self) -> Iterator[str]:
        """Yield the URL of a Valkey of the same kind, which holds what this one held before."""
        (port,) = free_ports(1)
        server = prepare_valkey(self._copy, port)
        server.start()
        try:
            yield f"redis://{HOST}:{port}/0"
        finally:
            server.stop()

    def _current(self) -> tuple[Path, int]:
        (manifest,) = self._folder.glob("appendonlydir/*.manifest")
        # file <name> seq <number> type <b or i>; the last is the one that is written.
        name = manifest.read_text().splitlines()[-1].split(" ")[1]
        file = manifest.parent / name
        return file, file.stat().st_size
