"""The queries' SQL: the replica where it will do, the primary where it must."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fanfare.common.v1.common_pb2 import Tweet, User

from core import messages
from core.errors import DatabaseUnavailableError
from core.postgres import Connection, Database
from core.queries import load_queries

LOG = logging.getLogger(__name__)
SQL = load_queries("read_service")


class Store:
    """Postgres, as the queries see it.

    Without a WAL position a query goes to the replica, which may lag; what is missing there and
    must not be is asked of the primary. If the replica does not answer, the primary does.
    """

    def __init__(self, primary: Database, replica: Database) -> None:
        self._primary = primary
        self._replica = replica

    async def user(self, user_id: int) -> User | None:
        """Return the user, or None."""
        row = await self._one("user_by_id", {"user_id": user_id})
        return messages.user(*row) if row else None

    async def user_by_username(self, username: str) -> User | None:
        """Return the user of this name in whatever case, or None."""
        row = await self._one("user_by_username", {"username": username})
        return messages.user(*row) if row else None

    async def user_exists(self, user_id: int) -> bool:
        """Return whether there is such a user."""
        return await self._one("user_exists", {"user_id": user_id}) is not None

    async def users(self, ids: Sequence[int]) -> dict[int, User]:
        """Return those of the users that exist, by id."""
        found = {}
        for row in await self._all_of("users_by_id", ids):
            found[row[0]] = messages.user(*row)
        return found

    async def list_users(self, after: int, offset: int, limit: int) -> list[User]:
        """Return users by id, above the given one."""
        page = {"after": after, "offset": offset, "limit": limit}
        return [messages.user(*row) for row in await self._rows("list_users", page)]

    async def tweets(
        self, ids: Sequence[int], wal_position: int | None = None
    ) -> dict[int, tuple[int, Tweet]]:
        """Return (version, tweet) of those tweets that exist, by id, as new as the position."""
        found = {}
        for *row, version in await self._all_of("tweets_by_id", ids, wal_position):
            found[row[0]] = (version, messages.tweet(*row))
        return found

    async def followed_since(self, follower_id: int, followed_id: int) -> datetime | None:
        """Return when the follow began, or None where there is none."""
        edge = {"follower_id": follower_id, "followed_id": followed_id}
        row = await self._one("follow", edge)
        return row[0] if row else None

    async def user_tweets(self, user_id: int, before: int, offset: int, limit: int) -> list[Tweet]:
        """Return a user's tweets, newest first, below the given id."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        return [messages.tweet(*row) for row in await self._rows("list_user_tweets", page)]

    async def home_timeline(
        self, user_id: int, before: int, offset: int, limit: int
    ) -> list[Tweet]:
        """Return the tweets of those whom the user follows, newest first, below the given id."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        return [messages.tweet(*row) for row in await self._rows("home_timeline", page)]

    async def newest_ids(self, user_id: int, limit: int, wal_position: int) -> list[int]:
        """Return the ids at the head of a home timeline, from a Postgres that has the position."""
        page = {"user_id": user_id, "limit": limit}
        return [row[0] for row in await self._rows("newest_ids", page, wal_position)]

    async def followers(
        self, user_id: int, before: int, offset: int, limit: int
    ) -> list[tuple[User, int]]:
        """Return (follower, position), newest follow first, below the given position."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("list_followers", page)
        return [(messages.user(*row[:-1]), row[-1]) for row in rows]

    async def following(
        self, user_id: int, before: int, offset: int, limit: int
    ) -> list[tuple[User, int]]:
        """Return (followed, position), newest follow first, below the given position."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("list_following", page)
        return [(messages.user(*row[:-1]), row[-1]) for row in rows]

    async def _rows(
        self, query: str, parameters: Mapping[str, Any], wal_position: int | None = None
    ) -> list[tuple[Any, ...]]:
        if self._replica is not self._primary:
            try:
                async with self._replica.connection() as connection:
                    # A statement of its own, before the read: its answer holds for what follows.
                    if wal_position is None or await _has_replayed(connection, wal_position):
                        cursor = await connection.execute(SQL[query], parameters)
                        return await cursor.fetchall()
            except DatabaseUnavailableError:
                LOG.warning("the replica does not answer, the primary does its work")
        return await self._primary_rows(query, parameters)

    async def _primary_rows(
        self, query: str, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        async with self._primary.connection() as connection:
            cursor = await connection.execute(SQL[query], parameters)
            return await cursor.fetchall()

    async def _one(self, query: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        rows = await self._rows(query, parameters)
        if not rows and self._replica is not self._primary:
            rows = await self._primary_rows(query, parameters)
        return rows[0] if rows else None

    async def _all_of(
        self, query: str, ids: Sequence[int], wal_position: int | None = None
    ) -> list[tuple[Any, ...]]:
        rows = await self._rows(query, {"ids": list(ids)}, wal_position)
        missing = set(ids).difference(row[0] for row in rows)
        if missing and self._replica is not self._primary:
            # What the replica lacks may be too new for it, and only the primary knows.
            rows += await self._primary_rows(query, {"ids": list(missing)})
        return rows


async def _has_replayed(connection: Connection, wal_position: int) -> bool:
    cursor = await connection.execute(SQL["has_replayed"], {"wal_position": wal_position})
    return await cursor.fetchone() == (True,)
