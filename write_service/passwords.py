"""Password hashes: argon2id, computed beside the event loop."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import OverloadedError

# OWASP's Password Storage Cheat Sheet: argon2id, 19 MiB, 2 passes, 1 lane.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
# A hash takes a core for tens of milliseconds: more at a time would only starve the event loop.
WORKERS = 2
# Some four seconds of work, so that a flood is refused before the callers' deadlines.
MAX_WAITING = 200

Result = TypeVar("Result")


class Passwords:
    """Hashes and checks passwords, two at a time; further callers wait their turn."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID
        )
        # Made with the same parameters, so that checking against it takes as long.
        self._nobodys = self._hasher.hash(secrets.token_hex())
        self._executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the encoded argon2id hash, with its salt and parameters.

        Raises OverloadedError when too many callers wait already.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> tuple[bool, str | None]:
        """Return whether the password is the hash's, and a new hash where it has old parameters.

        None for a hash takes as long as any, and is never right. Raises OverloadedError when too
        many callers wait already.
        """
        return await self._run(lambda: self._verify(password_hash, password))

    def close(self) -> None:
        """Let the hashes under way finish and stop the threads."""
        self._executor.shutdown()

    def _verify(self, password_hash: str | None, password: str) -> tuple[bool, str | None]:
        try:
            self._hasher.verify(password_hash or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False, None
        if password_hash is None or not self._hasher.check_needs_rehash(password_hash):
            return password_hash is not None, None
        return True, self._hasher.hash(password)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= MAX_WAITING:
            raise OverloadedError
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1
