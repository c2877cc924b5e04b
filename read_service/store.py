"""The queries' SQL: the replica where it will do, the primary where it must."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from fanfare.common.v1.common_pb2 import User

from core import messages
from core.counters import COUNTERS, Rare
from core.errors import DatabaseUnavailableError, NotYetConsistentError
from core.postgres import HAS_REPLAYED, Connection, Database
from core.queries import load_queries

LOG = logging.getLogger(__name__)
SQL = load_queries("read_service")

# A tweet of a page: its id, and the delimited message.
Item = tuple[int, bytes]


class Store:
    """Postgres, as the queries see it.

    A query goes to the replica, which may lag; what is missing there and must not be is asked of
    the primary. If the replica does not answer, the primary does. token, where a method takes one,
    is the position of a consistency token: then only a Postgres that has it answers, else
    NotYetConsistentError is raised.
    """

    def __init__(self, primary: Database, replica: Database) -> None:
        self._primary = primary
        self._replica = replica

    async def user(self, user_id: int, token: int | None = None) -> User | None:
        """Return the user, or None."""
        row = await self._one("user_by_id", {"user_id": user_id}, token)
        return messages.user(*row) if row else None

    async def account(self, user_id: int, token: int | None = None) -> tuple[User, str] | None:
        """Return the user and their e-mail address ("": none), or None."""
        row = await self._one("account", {"user_id": user_id}, token)
        return (messages.user(*row[:-1]), row[-1]) if row else None

    async def user_by_username(self, username: str, token: int | None = None) -> User | None:
        """Return the user of this name in whatever case, or None."""
        row = await self._one("user_by_username", {"username": username}, token)
        return messages.user(*row) if row else None

    async def user_exists(self, user_id: int, token: int | None = None) -> bool:
        """Return whether there is such a user."""
        return await self._one("user_exists", {"user_id": user_id}, token) is not None

    async def users(self, ids: Sequence[int], token: int | None = None) -> dict[int, User]:
        """Return those of the users that exist, by id."""
        found = {}
        for row in await self._all_of("users_by_id", ids, token):
            found[row[0]] = messages.user(*row)
        return found

    async def list_users(
        self, after: int, offset: int, limit: int, token: int | None = None
    ) -> list[User]:
        """Return users by id, above the given one."""
        page = {"after": after, "offset": offset, "limit": limit}
        return [messages.user(*row) for row in await self._rows("list_users", page, token)]

    async def tweets(
        self, ids: Sequence[int], token: int | None = None, wal_position: int | None = None
    ) -> dict[int, tuple[int, bytes]]:
        """Return (version, serialised tweet) of those tweets that exist, by id.

        wal_position: from a replica only if it has this, for filling bodies.
        """
        found = {}
        for *row, version in await self._all_of("tweets_by_id", ids, token, wal_position):
            found[row[0]] = (version, messages.tweet(*row).SerializeToString())
        return found

    async def followed_since(
        self, follower_id: int, followed_id: int, token: int | None = None
    ) -> datetime | None:
        """Return when the follow began, or None where there is none."""
        edge = {"follower_id": follower_id, "followed_id": followed_id}
        row = await self._one("follow", edge, token)
        return row[0] if row else None

    async def user_tweets(
        self, user_id: int, before: int, offset: int, limit: int, token: int | None = None
    ) -> list[Item]:
        """Return a user's tweets, newest first, below the given id."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        return [_item(row) for row in await self._rows("list_user_tweets", page, token)]

    async def home_timeline(  # noqa: PLR0913 - a page, and what it must have
        self,
        user_id: int,
        before: int,
        offset: int,
        limit: int,
        token: int | None = None,
        *,
        wal_position: int | None = None,
    ) -> list[Item]:
        """Return the tweets of those whom the user follows, newest first, below the given id.

        wal_position: from a replica only if it has this.
        """
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("home_timeline", page, token, wal_position)
        return [_item(row) for row in rows]

    async def newest_ids(
        self, user_id: int, limit: int, wal_position: int
    ) -> tuple[list[int], list[int]]:
        """Return the ids at the head of a home timeline, and its pulled authors.

        Both of one moment, from a Postgres that has the position.
        """
        page = {"user_id": user_id, "limit": limit}
        ((ids, pulled),) = await self._rows("newest_ids", page, None, wal_position)
        return ids, pulled

    async def newest_ids_of_authors(
        self, user_ids: Sequence[int], limit: int, wal_position: int
    ) -> dict[int, list[int]]:
        """Return the newest ids of each author, from a Postgres that has the position."""
        page = {"user_ids": list(user_ids), "limit": limit}
        return dict(await self._rows("newest_ids_of_authors", page, None, wal_position))

    async def followers(
        self, user_id: int, before: int, offset: int, limit: int, token: int | None = None
    ) -> list[tuple[User, int]]:
        """Return (follower, position), newest follow first, below the given position."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("list_followers", page, token)
        return [(messages.user(*row[:-1]), row[-1]) for row in rows]

    async def following(
        self, user_id: int, before: int, offset: int, limit: int, token: int | None = None
    ) -> list[tuple[User, int]]:
        """Return (followed, position), newest follow first, below the given position."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("list_following", page, token)
        return [(messages.user(*row[:-1]), row[-1]) for row in rows]

    async def _rows(
        self,
        query: str,
        parameters: Mapping[str, Any],
        token: int | None = None,
        wal_position: int | None = None,
    ) -> list[tuple[Any, ...]]:
        needed = max((p for p in (token, wal_position) if p is not None), default=None)
        if self._replica is not self._primary:
            try:
                async with self._replica.connection() as connection:
                    if needed is None or await _has(connection, HAS_REPLAYED, needed):
                        cursor = await connection.execute(SQL[query], parameters)
                        return await cursor.fetchall()
                COUNTERS.add(Rare.REPLICA_BEHIND)
            except DatabaseUnavailableError:
                COUNTERS.add(Rare.REPLICA_DOWN)
                LOG.warning("the replica does not answer, the primary does its work")
        return await self._primary_rows(query, parameters, token)

    async def _primary_rows(
        self, query: str, parameters: Mapping[str, Any], token: int | None
    ) -> list[tuple[Any, ...]]:
        try:
            async with self._primary.connection() as connection:
                # A primary that took over may lack what the one before it had acknowledged.
                if token is not None and not await _has(connection, SQL["has_written"], token):
                    raise NotYetConsistentError
                cursor = await connection.execute(SQL[query], parameters)
                return await cursor.fetchall()
        except DatabaseUnavailableError as error:
            if token is not None:
                raise NotYetConsistentError from error
            raise

    async def _one(
        self, query: str, parameters: Mapping[str, Any], token: int | None
    ) -> tuple[Any, ...] | None:
        rows = await self._rows(query, parameters, token)
        if not rows and self._replica is not self._primary:
            COUNTERS.add(Rare.REPLICA_LACKED)
            rows = await self._primary_rows(query, parameters, token)
        return rows[0] if rows else None

    async def _all_of(
        self,
        query: str,
        ids: Sequence[int],
        token: int | None,
        wal_position: int | None = None,
    ) -> list[tuple[Any, ...]]:
        rows = await self._rows(query, {"ids": list(ids)}, token, wal_position)
        missing = set(ids).difference(row[0] for row in rows)
        if missing and self._replica is not self._primary:
            # What the replica lacks may be too new for it, and only the primary knows.
            COUNTERS.add(Rare.REPLICA_LACKED)
            rows += await self._primary_rows(query, {"ids": list(missing)}, token)
        return rows


def _item(row: tuple[Any, ...]) -> Item:
    return row[0], messages.delimited(messages.tweet(*row).SerializeToString())


async def _has(connection: Connection, query: LiteralString, wal_position: int) -> bool:
    cursor = await connection.execute(query, {"wal_position": wal_position})
    return await cursor.fetchone() == (True,)
