"""Whether the read service can answer anything."""

from __future__ import annotations

from core.storage.postgres_pool import Database
from read_service.cache import CacheConnection


def unanswerable(primary: Database, replica: Database, cache: CacheConnection) -> str | None:
    """Return why no read can be answered, or None if some can be.

    Postgres, the primary or the replica, answers all of them. Without it, Redis still has the first
    pages of many timelines. A process that is not ready gets no calls, so it must not be called
    that because of one of these servers: its callers would lose what the other one has.
    """
    of_primary = primary.trouble()
    if of_primary is None or replica.trouble() is None or cache.trouble() is None:
        return None
    return f"{of_primary}, and {cache.trouble()}"
