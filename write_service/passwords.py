"""Password hashes: argon2id, computed beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher, Type

from core.errors import OverloadedError

# OWASP's Password Storage Cheat Sheet: argon2id, 19 MiB, 2 passes, 1 lane.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
# A hash takes a core for tens of milliseconds: more at a time would only starve the event loop.
WORKERS = 2
# Some four seconds of work, so that a flood is refused before the callers' deadlines.
MAX_WAITING = 200


class Passwords:
    """Hashes passwords, two at a time; further callers wait their turn."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID
        )
        self._executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the encoded argon2id hash, with its salt and parameters.

        Raises OverloadedError when too many callers wait already.
        """
        if self._waiting >= MAX_WAITING:
            raise OverloadedError
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._hasher.hash, password)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the hashes under way finish and stop the threads."""
        self._executor.shutdown()
