"""The queries of the read service, on the Postgres servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fanfare.common.v1.common_pb2 import User

from core.rpc.messages import delimited
from read_service.databases import Databases
from read_service.freshness import Freshness
from read_service.pages import FROM_THE_TOP
from read_service.protocols import ListBase, StoredTweet, TweetPage
from read_service.rows import (
    AccountRow,
    AuthorIdsRow,
    BaseRow,
    ExistsRow,
    FollowRow,
    FollowTimeRow,
    IdRow,
    TweetRow,
    UserRow,
    VersionedTweetRow,
)


@dataclass(frozen=True, slots=True)
class Account:
    """A user, and what only the user may see."""

    user: User
    email: str
    """Empty for a user without one."""


@dataclass(frozen=True, slots=True)
class FollowEdge:
    """A follow edge, as it is listed for the user at one of its ends."""

    user: User
    """The user at the other end."""
    seq: int
    """The number by which edges are ordered; a newer edge has a higher one."""


class PostgresStore:
    """All queries to Postgres; users and tweets are returned as protobuf messages.

    The argument `freshness` says what the answer must contain. `Databases` lists the errors.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def user(self, user_id: int, freshness: Freshness) -> User | None:
        """Return the user, or None."""
        row = await self._databases.row("user_by_id", {"user_id": user_id}, freshness, UserRow)
        return row.to_message() if row else None

    async def account(self, user_id: int, freshness: Freshness) -> Account | None:
        """Return the user's account, or None."""
        row = await self._databases.row("account", {"user_id": user_id}, freshness, AccountRow)
        return Account(row.to_message(), row.email) if row else None

    async def user_by_username(self, username: str, freshness: Freshness) -> User | None:
        """Return the user with this name, regardless of case, or None."""
        row = await self._databases.row(
            "user_by_username", {"username": username}, freshness, UserRow
        )
        return row.to_message() if row else None

    async def user_exists(self, user_id: int, freshness: Freshness) -> bool:
        """Return whether the user exists."""
        row = await self._databases.row("user_exists", {"user_id": user_id}, freshness, ExistsRow)
        return row is not None

    async def users(self, ids: Sequence[int], freshness: Freshness) -> dict[int, User]:
        """Return those of the users that exist, by id."""
        rows = await self._databases.rows_by_id("users_by_id", ids, freshness, UserRow)
        return {id_: row.to_message() for id_, row in rows.items()}

    async def list_users(
        self, after: int, offset: int, limit: int, freshness: Freshness
    ) -> list[User]:
        """Return users with ids above the given one, lowest first."""
        page = {"after": after, "offset": offset, "limit": limit}
        rows = await self._databases.rows("list_users", page, freshness, UserRow)
        return [row.to_message() for row in rows]

    async def tweets(self, ids: Sequence[int], freshness: Freshness) -> dict[int, StoredTweet]:
        """Return those of the tweets that exist, by id."""
        rows = await self._databases.rows_by_id("tweets_by_id", ids, freshness, VersionedTweetRow)
        return {id_: StoredTweet(row.version, row.serialise()) for id_, row in rows.items()}

    async def existing_tweets(self, ids: Sequence[int], freshness: Freshness) -> list[int]:
        """Return those of the ids that tweets have, in their order."""
        rows = await self._databases.rows_by_id("existing_tweets", ids, freshness, IdRow)
        return [id_ for id_ in ids if id_ in rows]

    async def followed_since(
        self, follower_id: int, followed_id: int, freshness: Freshness
    ) -> datetime | None:
        """Return when the follow edge was made; None if there is none."""
        edge = {"follower_id": follower_id, "followed_id": followed_id}
        row = await self._databases.row("follow", edge, freshness, FollowTimeRow)
        return row.created_at if row else None

    async def user_tweets(
        self, user_id: int, before: int, offset: int, limit: int, freshness: Freshness
    ) -> TweetPage:
        """Return a user's own tweets with ids below the given one, newest first."""
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        return _page(await self._databases.rows("list_user_tweets", page, freshness, TweetRow))

    async def home_timeline(
        self, user_id: int, before: int, offset: int, limit: int, freshness: Freshness
    ) -> TweetPage:
        """Return the tweets of the users that a user follows, below the given id, newest first."""
        page = {"user_id": user_id, "before": before, "offset": offset, "count": offset + limit}
        return _page(await self._databases.rows("home_timeline", page, freshness, TweetRow))

    async def newest_ids(
        self, user_ids: Sequence[int], limit: int, freshness: Freshness
    ) -> dict[int, ListBase]:
        """Return the bases of home timelines with at most limit ids each, from one snapshot."""
        page = {"user_ids": list(user_ids), "before": FROM_THE_TOP, "count": limit}
        rows = await self._databases.rows("newest_ids", page, freshness, BaseRow)
        return {row.user_id: ListBase(row.ids, row.pull_authors) for row in rows}

    async def newest_ids_of_authors(
        self, user_ids: Sequence[int], limit: int, freshness: Freshness
    ) -> dict[int, ListBase]:
        """Return the bases of the authors' own lists, with at most limit ids each."""
        page = {"user_ids": list(user_ids), "limit": limit}
        rows = await self._databases.rows("newest_ids_of_authors", page, freshness, AuthorIdsRow)
        return {row.author: ListBase(row.ids) for row in rows}

    async def followers(
        self, user_id: int, before: int, offset: int, limit: int, freshness: Freshness
    ) -> list[FollowEdge]:
        """Return a user's followers with edges below the given number, newest edge first."""
        return await self._edges("list_followers", user_id, before, offset, limit, freshness)

    async def following(
        self, user_id: int, before: int, offset: int, limit: int, freshness: Freshness
    ) -> list[FollowEdge]:
        """Return the users that a user follows, by edges below the number, newest edge first."""
        return await self._edges("list_following", user_id, before, offset, limit, freshness)

    async def _edges(  # noqa: PLR0913, PLR0917 - a page, and what it must contain
        self,
        query: str,
        user_id: int,
        before: int,
        offset: int,
        limit: int,
        freshness: Freshness,
    ) -> list[FollowEdge]:
        page = {"user_id": user_id, "before": before, "offset": offset, "limit": limit}
        rows = await self._databases.rows(query, page, freshness, FollowRow)
        return [FollowEdge(row.to_message(), row.seq) for row in rows]


def _page(rows: Sequence[TweetRow]) -> TweetPage:
    return TweetPage([row.id for row in rows], [delimited(row.serialise()) for row in rows])
