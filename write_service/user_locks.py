"""Locks on the rows of users.

No command waits for such a lock while it uses a connection: if many callers waited for one user,
they would use up the pool, and everybody would wait. A command that finds a row locked gives its
connection back and tries again later.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.rows import scalar_row

from core.errors import UserBusyError, UserNotFoundError
from core.storage.postgres import Connection
from core.storage.queries import load_queries

SQL = load_queries("write_service")

# How long a command waits for the locked row of a user, and about how often it looks.
LOCK_SECONDS = 2.0
LOCK_POLL_SECONDS = 0.05


async def lock_users(connection: Connection, *user_ids: int) -> None:
    """Lock users against deletion.

    Raises:
        UserNotFoundError: one of them does not exist.
        UserBusyError: the row of one of them is locked.
    """
    await _lock(connection, "lock_users", {"user_ids": list(user_ids)}, *user_ids)


async def lock_for_update(connection: Connection, user_id: int) -> None:
    """Lock a user against changes and deletion; raises as lock_users() does."""
    await _lock(connection, "lock_user_for_update", {"user_id": user_id}, user_id)


async def lock_alone(connection: Connection, user_id: int) -> None:
    """Lock a user whom no other transaction has locked in any way; raises as lock_users() does."""
    await _lock(connection, "lock_user_alone", {"user_id": user_id}, user_id)


async def existing_users(connection: Connection, user_ids: list[int]) -> set[int]:
    """Return those of the users that exist, for users whose rows could not be locked."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(SQL["existing_users"], {"user_ids": user_ids})
    return set(await cursor.fetchall())


async def _lock(
    connection: Connection, query: str, parameters: Mapping[str, object], *user_ids: int
) -> None:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(SQL[query], parameters)
    locked = set(await cursor.fetchall())
    if missing := [user_id for user_id in user_ids if user_id not in locked]:
        busy = await existing_users(connection, missing)
        for user_id in missing:
            raise UserBusyError(user_id) if user_id in busy else UserNotFoundError(user_id)
