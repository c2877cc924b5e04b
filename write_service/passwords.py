"""Password hashes: argon2id, computed in threads so that the event loop is not blocked.

The work is counted by the address that calls, whether its user is known or not, because one caller
can have many accounts.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from core.runtime.callers import CALLER
from write_service.password_queue import Kind, PasswordQueue

# The parameters that OWASP's Password Storage Cheat Sheet recommends.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
# A hash keeps a core busy for tens of milliseconds. More threads would starve the event loop.
THREADS = 2
# About four seconds of work: more would only wait until their deadlines pass.
MAX_WAITING = 200

Result = TypeVar("Result")


def normalise_password(password: str) -> str:
    """Return the password in Unicode normalisation form KC, which is what is hashed.

    Keyboards and systems produce different code points for the same text, such as one or two for an
    ä. NIST SP 800-63B asks for this form, or for KD.
    """
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """Hashes and verifies passwords, a few at a time; further callers queue in fair turns."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID
        )
        # Verified for users without a hash. With the same parameters this takes equally long.
        self._placeholder_hash = self._hasher.hash(secrets.token_hex())
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._queue = PasswordQueue(THREADS, MAX_WAITING)

    async def hash(self, password: str, kind: Kind) -> str:
        """Return the encoded argon2id hash, which includes its salt and parameters.

        Args:
            password: the new password.
            kind: what the password is for.

        Raises:
            OverloadedError: too many callers are queued.
        """
        return await self._run(kind, lambda: self._hasher.hash(normalise_password(password)))

    async def verify(
        self, password_hash: str | None, password: str, kind: Kind = Kind.SIGN_IN
    ) -> tuple[bool, str | None]:
        """Check a password against its hash.

        Args:
            password_hash: None if the user has none; the check takes equally long, and fails.
            password: what the caller entered.
            kind: what the password is for.

        Returns:
            Whether the password is right, and a new hash if the old one has outdated parameters
            or is not of the normalised password.

        Raises:
            OverloadedError: too many callers are queued.
        """
        return await self._run(kind, lambda: self._verify(password_hash, password))

    def close(self) -> None:
        """Compute the hashes that are queued, then stop the threads."""
        self._executor.shutdown()

    def _verify(self, password_hash: str | None, password: str) -> tuple[bool, str | None]:
        normalised = normalise_password(password)
        # Hashes of earlier versions are of the password as it was typed. For most passwords, such
        # as all of ASCII, both forms are the same. How many are tried depends on the password only.
        for form in dict.fromkeys([normalised, password]):
            if self._matches(password_hash or self._placeholder_hash, form):
                break
        else:
            return False, None
        if password_hash is None:
            return False, None
        if form == normalised and not self._hasher.check_needs_rehash(password_hash):
            return True, None
        return True, self._hasher.hash(normalised)

    def _matches(self, password_hash: str, form: str) -> bool:
        try:
            return self._hasher.verify(password_hash, form)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, kind: Kind, work: Callable[[], Result]) -> Result:
        async with self._queue.slot(kind, CALLER.get()):
            running = asyncio.get_running_loop().run_in_executor(self._executor, work)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                # A thread cannot be interrupted, and is not free for the next caller before.
                await asyncio.wait({running})
                raise
