"""The queries' SQL: the replica where it will do, the primary where it must."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from fanfare.common.v1.common_pb2 import User

from core.errors import (
    ConsistencyTokenLostError,
    DatabaseUnavailableError,
    NotYetConsistentError,
)
from core.feed.history import Moment, OtherHistoryError
from core.rpc import messages
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import HAS_REACHED, Connection, Database
from core.storage.queries import load_queries

LOG = logging.getLogger(__name__)
SQL = load_queries("read_service")

# A tweet of a page: its id, and the delimited message.
Item = tuple[int, bytes]


class Store:
    """Postgres, as the queries see it.

    A query goes to the replica, which may lag; what is missing there and must not be is asked of
    the primary. If the replica does not answer, or is left out, the primary does.

    token, where a method takes one, is what a consistency token names: then only a Postgres that
    has it answers. Such a method raises NotYetConsistentError when none does, and
    ConsistencyTokenLostError when the token's command may be lost. moment, where a method takes
    one, is of the history that Redis was built from: then only a Postgres that has reached it
    answers, and OtherHistoryError is raised when the database is at another history.
    """

    def __init__(self, primary: Database, replica: Database) -> None:
        self._primary = primary
        self._replica = replica
        self.is_replica_used = replica is not primary
        """False leaves the replica out."""

    async def user(self, user_id: int, token: Moment | None = None) -> User | None:
        """Return the user, or None."""
        row = await self._one("user_by_id", {"user_id": user_id}, token)
        return messages.user(*row) if row else None

    async def account(self, user_id: int, token: Moment | None = None) -> tuple[User, str] | None:
        """Return the user and their e-mail address ("": none), or None."""
        row = await self._one("account", {"user_id": user_id}, token)
        return (messages.user(*row[:-1]), row[-1]) if row else None

    async def user_by_username(self, username: str, token: Moment | None = None) -> User | None:
        """Return the user of this name in whatever case, or None."""
        row = await self._one("user_by_username", {"username": username}, token)
        return messages.user(*row) if row else None

    async def user_exists(self, user_id: int, token: Moment | None = None) -> bool:
        """Return whether there is such a user."""
        return await self._one("user_exists", {"user_id": user_id}, token) is not None

    async def users(self, ids: Sequence[int], token: Moment | None = None) -> dict[int, User]:
        """Return those of the users that exist, by id."""
        found = {}
        for row in await self._all_of("users_by_id", ids, token):
            found[row[0]] = messages.user(*row)
        return found

    async def list_users(
        self, after: int, offset: int, limit: int, token: Moment | None = None
    ) -> list[User]:
        """Return users by id, above the given one."""
        page = {"after": after, "offset": offset, "limit": limit}
        return [messages.user(*row) for row in await self._rows("list_users", page, token)]

    async def tweets(
        self, ids: Sequence[int], token: Moment | None = None, moment: Moment | None = None
    ) -> dict[int, tuple[int, bytes]]:
        """Return (version, serialised tweet) of those tweets that exist, by id."""
        found = {}
        for *row, version in await self._all_of("tweets_by_id", ids, token, moment):
            found[row[0]] = (version, messages.tweet(*row).SerializeToString())
        return found

    async def followed_since(
        self, follower_id: int, followed_id: int, token: Moment | None = None
    ) -> datetime | None:
        """Return when the follow began, or None where there is none."""
        edge = {"follower_id": follower_id, "followed_id": followed_id}
        row = await self._one("follow", edge, token)
        return row[0] if row else None

    async def user_tweets(
        self, user_id: int, before: int, offset: int, limit: int, token: Moment | None = None
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
        token: Moment | None = None,
        *,
        moment: Moment | None = None,
    ) -> list[Item]:
        """Return the tweets of those whom the user follows, newest first, below the given id."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("home_timeline", page, token, moment)
        return [_item(row) for row in rows]

    async def newest_ids(
        self, user_id: int, limit: int, moment: Moment
    ) -> tuple[list[int], list[int]]:
        """Return the ids at the head of a home timeline, and its pulled authors."""
        page = {"user_id": user_id, "limit": limit}
        ((ids, pulled),) = await self._rows("newest_ids", page, None, moment)
        return ids, pulled

    async def newest_ids_of_authors(
        self, user_ids: Sequence[int], limit: int, moment: Moment
    ) -> dict[int, list[int]]:
        """Return the newest ids of each author."""
        page = {"user_ids": list(user_ids), "limit": limit}
        return dict(await self._rows("newest_ids_of_authors", page, None, moment))

    async def followers(
        self, user_id: int, before: int, offset: int, limit: int, token: Moment | None = None
    ) -> list[tuple[User, int]]:
        """Return (follower, position), newest follow first, below the given position."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("list_followers", page, token)
        return [(messages.user(*row[:-1]), row[-1]) for row in rows]

    async def following(
        self, user_id: int, before: int, offset: int, limit: int, token: Moment | None = None
    ) -> list[tuple[User, int]]:
        """Return (followed, position), newest follow first, below the given position."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._rows("list_following", page, token)
        return [(messages.user(*row[:-1]), row[-1]) for row in rows]

    async def _rows(
        self,
        query: str,
        parameters: Mapping[str, Any],
        token: Moment | None = None,
        moment: Moment | None = None,
    ) -> list[tuple[Any, ...]]:
        if self.is_replica_used:
            try:
                async with self._replica.connection() as connection:
                    if await _may_answer(connection, token, moment):
                        cursor = await connection.execute(SQL[query], parameters)
                        return await cursor.fetchall()
                METRICS.add(Metric.REPLICA_BEHIND)
            except DatabaseUnavailableError:
                METRICS.add(Metric.REPLICA_DOWN)
                LOG.warning("the replica does not answer, the primary does its work")
        return await self._primary_rows(query, parameters, token, moment)

    async def _primary_rows(
        self,
        query: str,
        parameters: Mapping[str, Any],
        token: Moment | None,
        moment: Moment | None,
    ) -> list[tuple[Any, ...]]:
        try:
            async with self._primary.connection() as connection:
                # A primary that took over may lack what the one before it had acknowledged.
                if token is not None:
                    await _check_token(connection, token)
                if moment is not None and not await _ask(connection, HAS_REACHED, moment):
                    raise OtherHistoryError
                cursor = await connection.execute(SQL[query], parameters)
                return await cursor.fetchall()
        except DatabaseUnavailableError as error:
            if token is not None:
                raise NotYetConsistentError from error
            raise

    async def _one(
        self, query: str, parameters: Mapping[str, Any], token: Moment | None
    ) -> tuple[Any, ...] | None:
        rows = await self._rows(query, parameters, token)
        if not rows and self.is_replica_used:
            METRICS.add(Metric.REPLICA_LACKED)
            rows = await self._primary_rows(query, parameters, token, None)
        return rows[0] if rows else None

    async def _all_of(
        self,
        query: str,
        ids: Sequence[int],
        token: Moment | None,
        moment: Moment | None = None,
    ) -> list[tuple[Any, ...]]:
        rows = await self._rows(query, {"ids": list(ids)}, token, moment)
        missing = set(ids).difference(row[0] for row in rows)
        if missing and self.is_replica_used:
            # What the replica lacks may be too new for it, and only the primary knows.
            METRICS.add(Metric.REPLICA_LACKED)
            rows += await self._primary_rows(query, {"ids": list(missing)}, token, moment)
        return rows


async def _may_answer(connection: Connection, token: Moment | None, moment: Moment | None) -> bool:
    """Return whether a replica has all that the answer must have."""
    return (token is None or bool(await _ask(connection, SQL["has_token"], token))) and (
        moment is None or bool(await _ask(connection, HAS_REACHED, moment))
    )


async def _check_token(connection: Connection, token: Moment) -> None:
    """Raise an error unless the primary has what the token names."""
    has_token = await _ask(connection, SQL["has_token"], token)
    if has_token is None:
        METRICS.add(Metric.TOKEN_LOST)
        raise ConsistencyTokenLostError
    if not has_token:
        raise NotYetConsistentError


async def _ask(connection: Connection, query: LiteralString, moment: Moment) -> bool | None:
    cursor = await connection.execute(query, {"history": moment.history, "lsn": moment.lsn})
    row = await cursor.fetchone()
    return row[0] if row is not None else None


def _item(row: tuple[Any, ...]) -> Item:
    return row[0], messages.delimited(messages.tweet(*row).SerializeToString())
