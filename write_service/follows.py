"""Follows, in the caller's transaction, with a limit of how many users one user may follow.

The limit is exact, but follows by one user rarely exclude one another. Far below the limit, a
follow only counts: other follows that it does not see are at most as many as Postgres has
connections. Nearer to the limit than that, it locks the follower first, which waits for these.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from core.errors import FollowingLimitError
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from write_service import events
from write_service.outbox import enqueue_events
from write_service.user_locks import lock_alone, lock_users

SQL = load_queries("write_service")


@dataclass(frozen=True)
class _Following:
    is_followed: bool
    """Whether the follower already follows the user in question."""
    following: int
    """How many users the follower follows; counted up to the limit only."""


async def follow(
    connection: Connection, follower_id: int, followed_id: int, max_following: int
) -> None:
    """Have one user follow another, unless they do already.

    Raises:
        UserNotFoundError: one of the users does not exist.
        UserBusyError: the row of one of the users is locked.
        FollowingLimitError: the follower already follows max_following users or more.
    """
    await lock_users(connection, follower_id, followed_id)
    if await _insert_follow(connection, follower_id, followed_id, max_following):
        await enqueue_events(connection, [events.user_followed(follower_id, followed_id)])


async def unfollow(connection: Connection, follower_id: int, followed_id: int) -> None:
    """End a follow, if there is one.

    Raises:
        UserNotFoundError: one of the users does not exist.
        UserBusyError: the row of one of the users is locked.
    """
    edge = {"follower_id": follower_id, "followed_id": followed_id}
    await lock_users(connection, follower_id, followed_id)
    if (await connection.execute(SQL["delete_follow"], edge)).rowcount:
        await enqueue_events(connection, [events.user_unfollowed(follower_id, followed_id)])


async def _insert_follow(
    connection: Connection, follower_id: int, followed_id: int, max_following: int
) -> bool:
    """Insert a follow and return True, or return False if it exists."""
    edge = {"follower_id": follower_id, "followed_id": followed_id, "max_following": max_following}
    if (await connection.execute(SQL["insert_follow"], edge | {"alone": False})).rowcount:
        return True
    cursor = connection.cursor(row_factory=class_row(_Following))
    await cursor.execute(SQL["following_state"], edge)
    (state,) = await cursor.fetchall()
    if state.is_followed:
        return False
    if state.following < max_following:
        await lock_alone(connection, follower_id)
        if (await connection.execute(SQL["insert_follow"], edge | {"alone": True})).rowcount:
            return True
    raise FollowingLimitError(max_following)
