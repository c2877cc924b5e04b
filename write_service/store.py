"""The commands' SQL: each method is one transaction that leaves its events in the outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from fanfare.common.v1.common_pb2 import Tweet, User
from psycopg import errors as sqlstate

from core.errors import (
    EmailTakenError,
    FanfareError,
    InternalError,
    TweetNotFoundError,
    UsernameTakenError,
    UserNotFoundError,
)
from core.feed.history import Moment
from core.rpc import messages
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import Connection, Database
from core.storage.queries import load_queries
from write_service import events
from write_service.drafts import Draft
from write_service.events import OutboxEvent
from write_service.follower_counts import FollowerCounts
from write_service.idempotency import claim_requests

SQL = load_queries("write_service")

# As allow_long_statements says.
LONG_STATEMENT_SECONDS = 120.0

_TAKEN: dict[str, type[UsernameTakenError | EmailTakenError]] = {
    "users_username_key": UsernameTakenError,
    "users_email_key": EmailTakenError,
}


@dataclass(frozen=True)
class _Author:
    """How the tweets of a user come into timelines."""

    pulled: bool
    crosses: bool
    """Has more followers than the threshold for the first time."""


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _command(
    work: Callable[Concatenate[Store, Connection, _P], Awaitable[_T]],
) -> Callable[Concatenate[Store, _P], Awaitable[tuple[_T, Moment]]]:
    """Make the work a command: one transaction, which returns its result and its moment.

    The moment is read on the same connection, or it could be that of a server which took over just
    after the commit and has lost it.
    """

    async def run(self: Store, /, *args: _P.args, **kwargs: _P.kwargs) -> tuple[_T, Moment]:
        async with self._database.connection() as connection:
            async with connection.transaction():
                result = await work(self, connection, *args, **kwargs)
            return result, await self._committed(connection)

    return run


class Store:
    """The Postgres primary, as the commands see it: each returns its result and its moment."""

    def __init__(self, database: Database, pull_followers: int) -> None:
        """Use the database; pull_followers: above so many an author is pulled (0: never)."""
        self._database = database
        self._pull_followers = pull_followers
        self._follower_counts = FollowerCounts()
        # As of the last commit here: whoever follows later has a higher number.
        self._follows_drawn = 0

    @_command
    async def create_user(
        self, connection: Connection, username: str, email: str, password_hash: str, bio: str
    ) -> User:
        """Return the new user; raises UsernameTakenError and EmailTakenError."""
        fields = {"username": username, "email": email, "bio": bio}
        with _unique_names():
            cursor = await connection.execute(
                SQL["insert_user"], fields | {"password_hash": password_hash}
            )
        row = await cursor.fetchone()
        if row is None:
            raise InternalError  # an INSERT returns its row, or fails
        return messages.user(*row)

    @_command
    async def update_user(  # noqa: PLR0913, PLR0917 - the fields of a user
        self,
        connection: Connection,
        user_id: int,
        username: str | None,
        email: str | None,
        password_hash: str | None,
        bio: str | None,
    ) -> User:
        """Return the user after the change, in which None leaves a field as it is.

        Raises UserNotFoundError, UsernameTakenError and EmailTakenError.
        """
        fields = {"username": username, "email": email, "bio": bio}
        with _unique_names():
            cursor = await connection.execute(
                SQL["update_user"],
                fields | {"user_id": user_id, "password_hash": password_hash},
            )
        row = await cursor.fetchone()
        if row is None:
            raise UserNotFoundError(user_id)
        if password_hash is not None:
            # Whoever knew the old password is signed out.
            await connection.execute(SQL["delete_sessions_of_user"], {"user_id": user_id})
        return messages.user(*row)

    @_command
    async def delete_user(self, connection: Connection, user_id: int) -> None:
        """Delete the user with their tweets and follows; raises UserNotFoundError.

        The events come after the DELETEs, so that their ids are above those of every change that
        the row locks made this one wait for.
        """
        user = {"user_id": user_id}
        # Somebody with a million followers has a million events to leave.
        await connection.execute(SQL["allow_long_statements"])
        connection.silence_seconds += LONG_STATEMENT_SECONDS
        # Waits for the tweets and follows under way that hold the user, and stops new ones.
        cursor = await connection.execute(SQL["lock_user_for_deletion"], user)
        if await cursor.fetchone() is None:
            raise UserNotFoundError(user_id)
        cursor = await connection.execute(SQL["delete_tweets_of_user"], user)
        gone = [events.tweet_deleted(row[0], user_id) for row in await cursor.fetchall()]
        cursor = await connection.execute(SQL["delete_follows_of_user"], user)
        gone += [events.user_unfollowed(*row) for row in await cursor.fetchall()]
        gone.append(events.user_deleted(user_id))
        await connection.execute(SQL["delete_user"], user)
        await _leave(connection, gone)

    async def create_tweets(
        self, drafts: Sequence[Draft]
    ) -> tuple[list[Tweet | FanfareError], Moment]:
        """Create the tweets in one transaction.

        Return each or why there is none, in order, and a moment not before the commit. Of
        drafts with the same author and request_id the first decides, here and before. In as few
        round trips as there are answers to wait for: the next statement's begins with the last.
        """
        async with self._database.connection() as connection, connection.pipeline():
            async with connection.transaction():
                results = await self._create_tweets(connection, drafts)
            moment = await self._committed(connection)
        return results, moment

    async def _create_tweets(
        self, connection: Connection, drafts: Sequence[Draft]
    ) -> list[Tweet | FanfareError]:
        user_ids = list({draft.user_id for draft in drafts})
        follows_drawn = self._follows_drawn
        cursor = await connection.execute(
            SQL["lock_authors"],
            {
                "user_ids": user_ids,
                "margins": self._follower_counts.margins(user_ids),
                "pull_followers": self._pull_followers,
                "count": len(drafts),
            },
            binary=True,
        )
        ((known, pulled, counted, tweet_ids, time),) = await cursor.fetchall()
        counts = dict(zip(known or (), counted or (), strict=True))
        self._follower_counts.keep(
            {user_id: count for user_id, count in counts.items() if count is not None},
            follows_drawn,
        )
        authors = {
            user_id: _Author(is_pulled, (counts[user_id] or 0) > self._pull_followers)
            for user_id, is_pulled in zip(known or (), pulled or (), strict=True)
        }
        at = messages.timestamp(time)
        results: list[Tweet | FanfareError] = [
            Tweet(
                id=tweet_id,
                user_id=draft.user_id,
                content=draft.content,
                created_at=at,
                updated_at=at,
            )
            if draft.user_id in authors
            else UserNotFoundError(draft.user_id)
            for draft, tweet_id in zip(drafts, tweet_ids, strict=True)
        ]
        repeated = await claim_requests(connection, drafts, results, time)
        created = [
            result
            for index, result in enumerate(results)
            if isinstance(result, Tweet) and index not in repeated
        ]
        for index, result in repeated.items():
            results[index] = result
        if created:
            await _insert_tweets(connection, created, authors, time)
        METRICS.add(Metric.REQUEST_REPEATED, len(repeated))
        return results

    @_command
    async def update_tweet(self, connection: Connection, tweet_id: int, content: str) -> Tweet:
        """Return the tweet with its new content; raises TweetNotFoundError."""
        cursor = await connection.execute(
            SQL["update_tweet"], {"tweet_id": tweet_id, "content": content}
        )
        row = await cursor.fetchone()
        if row is None:
            raise TweetNotFoundError(tweet_id)
        *columns, version = row
        tweet = messages.tweet(*columns)
        await _leave(connection, [events.tweet_updated(tweet, version)])
        return tweet

    @_command
    async def delete_tweet(self, connection: Connection, tweet_id: int) -> None:
        """Delete the tweet; raises TweetNotFoundError."""
        cursor = await connection.execute(SQL["delete_tweet"], {"tweet_id": tweet_id})
        row = await cursor.fetchone()
        if row is None:
            raise TweetNotFoundError(tweet_id)
        await connection.execute(SQL["expire_request"], {"tweet_id": tweet_id})
        await _leave(connection, [events.tweet_deleted(tweet_id, row[0])])

    @_command
    async def follow(self, connection: Connection, follower_id: int, followed_id: int) -> None:
        """Make the follow edge, if it is not there; raises UserNotFoundError."""
        edge = {"follower_id": follower_id, "followed_id": followed_id}
        await _lock_pair(connection, follower_id, followed_id)
        if (await connection.execute(SQL["insert_follow"], edge)).rowcount:
            await _leave(connection, [events.user_followed(follower_id, followed_id)])

    @_command
    async def unfollow(self, connection: Connection, follower_id: int, followed_id: int) -> None:
        """Remove the follow edge, if it is there; raises UserNotFoundError."""
        edge = {"follower_id": follower_id, "followed_id": followed_id}
        await _lock_pair(connection, follower_id, followed_id)
        if (await connection.execute(SQL["delete_follow"], edge)).rowcount:
            await _leave(connection, [events.user_unfollowed(follower_id, followed_id)])

    async def tweet_author(self, tweet_id: int) -> int | None:
        """Return the author's id, None where there is no such tweet."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(SQL["tweet_author"], {"tweet_id": tweet_id})
            row = await cursor.fetchone()
            return row[0] if row else None

    async def is_admin(self, user_id: int) -> bool:
        """Return whether the user exists and is an administrator."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(SQL["is_admin"], {"user_id": user_id})
            return await cursor.fetchone() == (True,)

    async def committed(self) -> Moment:
        """Wake the relay; return a moment not before any commit so far."""
        async with self._database.connection() as connection:
            return await self._committed(connection)

    async def _committed(self, connection: Connection) -> Moment:
        cursor = await connection.execute(SQL["committed"])
        ((lsn, history, self._follows_drawn, _),) = await cursor.fetchall()
        if history is None:
            # After the LSN was read: the new history begins behind the commits.
            cursor = await connection.execute(SQL["begin_history"], {"forced": False})
            ((history,),) = await cursor.fetchall()
        return Moment(history, lsn)


async def _insert_tweets(
    connection: Connection,
    tweets: Sequence[Tweet],
    authors: Mapping[int, _Author],
    time: datetime,
) -> None:
    crossing = {tweet.user_id for tweet in tweets if authors[tweet.user_id].crosses}
    if crossing:
        await connection.execute(SQL["pull_authors"], {"user_ids": list(crossing)})
        METRICS.add(Metric.AUTHOR_CROSSED, len(crossing))
    payloads = []
    for tweet in tweets:
        author = authors[tweet.user_id]
        pulled = author.pulled or author.crosses
        event = events.tweet_created(tweet, pulled=pulled, became_pulled=author.crosses)
        payloads.append(event.payload)
    await connection.execute(
        SQL["insert_tweets"],
        {
            "ids": [tweet.id for tweet in tweets],
            "user_ids": [tweet.user_id for tweet in tweets],
            "contents": [tweet.content for tweet in tweets],
            "payloads": payloads,
            "type": events.TWEET_CREATED,
            "time": time,
        },
    )


async def _lock_pair(connection: Connection, *user_ids: int) -> None:
    cursor = await connection.execute(SQL["lock_users"], {"user_ids": list(user_ids)})
    known = {row[0] for row in await cursor.fetchall()}
    for user_id in user_ids:
        if user_id not in known:
            raise UserNotFoundError(user_id)


async def _leave(connection: Connection, left: Sequence[OutboxEvent]) -> None:
    """Leave events in the outbox; committed() wakes the relay."""
    await connection.execute(
        SQL["insert_events"],
        {
            "keys": [event.key for event in left],
            "types": [event.type for event in left],
            "payloads": [event.payload for event in left],
        },
    )


@contextmanager
def _unique_names() -> Iterator[None]:
    try:
        yield
    except sqlstate.UniqueViolation as error:
        raise _TAKEN[error.diag.constraint_name or ""] from error
