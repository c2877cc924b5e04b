"""Rolling transactions back, and why that of a group of drafts was, if its parts may succeed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.storage.postgres import Connection


class RolledBackError(Exception):
    """The transaction failed unexpectedly and created nothing; `__cause__` is the reason."""


class RequestIdLockedError(RolledBackError):
    """Another transaction has claimed one of the request_ids and has not ended."""


@asynccontextmanager
async def rolled_back_on_error(connection: Connection) -> AsyncIterator[None]:
    """Roll the transaction back if its work fails."""
    try:
        yield
    except BaseException:
        if not connection.closed:
            await connection.rollback()
        raise
