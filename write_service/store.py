"""The commands in SQL: each is one transaction that enqueues its events in the outbox."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

import psycopg
from fanfare.common.v1.common_pb2 import Tweet, User
from psycopg import errors as sqlstate
from psycopg.pq.abc import PGresult
from psycopg.rows import class_row, kwargs_row, scalar_row

from core.auth.ended_tokens import ENDED_SECONDS
from core.errors import (
    EmailTakenError,
    FanfareError,
    InternalError,
    TweetNotFoundError,
    UnauthenticatedError,
    UserBusyError,
    UsernameTakenError,
)
from core.feed.history import Moment
from core.rpc import messages
from core.runtime.metrics import METRICS, Metric
from core.runtime.tracing import child_span
from core.storage.postgres import Connection
from core.storage.postgres_pool import UNAVAILABLE, Database
from core.storage.queries import load_queries
from core.storage.round_trips import RoundTrip, check
from write_service import erasure, events, follows
from write_service.committed import add_begin_history, add_commit, committed_state
from write_service.drafts import TweetDraft
from write_service.outbox import enqueue_events
from write_service.rollbacks import RolledBackError, rolled_back_on_error
from write_service.tweet_creator import TweetCreator
from write_service.user_locks import LOCK_POLL_SECONDS, LOCK_SECONDS, lock_for_update
from write_service.usernames import MAX_KEPT

SQL = load_queries("write_service")

# How often the ids of new tweets are drawn again if one of them exists already.
ID_TRIES = 3

# Failures of a transaction that smaller ones would have too, or that may have happened after the
# commit, because the connection broke.
_NOT_FOR_SMALLER_GROUPS = (
    FanfareError,
    RolledBackError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
    *UNAVAILABLE,
)

_TAKEN: dict[str, type[UsernameTakenError | EmailTakenError]] = {
    "users_username_key": UsernameTakenError,
    "users_email_key": EmailTakenError,
}


@dataclass(frozen=True)
class UserChanges:
    """New values of a user's fields; None leaves a field as it is."""

    username: str | None
    email: str | None
    password_hash: str | None
    bio: str | None


@dataclass(frozen=True)
class _UpdatedTweet:
    id: int
    user_id: int
    content: str
    created_at: datetime
    updated_at: datetime
    version: int


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _command(
    work: Callable[Concatenate[CommandStore, Connection, _P], Awaitable[_T]],
) -> Callable[Concatenate[CommandStore, _P], Awaitable[tuple[_T, Moment]]]:
    """Turn a method into a command: a transaction that returns a result and a moment.

    A command that finds a user's row locked is tried again for LOCK_SECONDS.

    The moment is at or after the commit. It is read on the connection of the transaction, because
    another connection could lead to a server that took over after the commit and lost it.
    """

    async def run(self: CommandStore, /, *args: _P.args, **kwargs: _P.kwargs) -> tuple[_T, Moment]:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                with child_span("commit"):
                    async with self._database.connection() as connection:
                        async with rolled_back_on_error(connection):
                            await connection.execute("BEGIN")
                            result = await work(self, connection, *args, **kwargs)
                            last = RoundTrip(connection)
                            add_begin_history(last)
                            add_commit(last)
                            begun, committed, after_commit, _ = await last.run()
                            check(begun)
                            check(committed)
                        return result, self._moment(connection, after_commit)
            except UserBusyError:
                if time.monotonic() > deadline:
                    raise
            # Without a connection, so that callers who wait for one user do not use up the pool.
            # The pauses differ, so that callers who are in one another's way do not meet again.
            pause = LOCK_POLL_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            await asyncio.sleep(pause)

    return run


class CommandStore:
    """The commands on the Postgres primary. Each returns a result and a moment after its commit.

    Every method raises DatabaseUnavailableError when Postgres does not answer, and OverloadedError
    when too many callers wait for a connection.
    """

    def __init__(self, database: Database, pull_followers: int, max_following: int) -> None:
        """Use a database.

        Args:
            database: the primary.
            pull_followers: an author with more followers becomes a pull author; 0 turns that off.
            max_following: how many users one user may follow.
        """
        self._database = database
        self._max_following = max_following
        self._tweets = TweetCreator(pull_followers)

    @_command
    async def create_user(
        self, connection: Connection, username: str, email: str, password_hash: str, bio: str
    ) -> User:
        """Create a user and return it.

        Raises:
            UsernameTakenError: another user has the name, or had it lately, in any case.
            EmailTakenError: another user has the address, in any case.
        """
        cursor = connection.cursor(row_factory=kwargs_row(messages.user))
        fields = {"username": username, "email": email, "bio": bio}
        await connection.execute(SQL["begin_history"], {"forced": False})
        with _unique_names():
            await cursor.execute(
                SQL["insert_user"],
                fields | {"password_hash": password_hash, "ended_seconds": ENDED_SECONDS},
            )
        user = await cursor.fetchone()
        if user is None:
            raise InternalError  # an INSERT returns its row or fails
        await _refuse_kept_username(connection, username, user.id)
        return user

    @_command
    async def update_user(
        self, connection: Connection, user_id: int, changes: UserChanges, token_epoch: int | None
    ) -> User:
        """Change a user and return it.

        A new password or e-mail address ends the user's access tokens, and a new password ends the
        sessions as well.

        Args:
            connection: the connection of the transaction.
            user_id: the user.
            changes: the new values.
            token_epoch: the epoch of the caller's access token, which must not have ended; None if
                the caller has no token, or the change does not depend on it.

        Raises:
            UserNotFoundError: there is no such user.
            UnauthenticatedError: the caller's access token has ended.
            UsernameTakenError: another user has the name, or had it lately, in any case.
            EmailTakenError: another user has the address, in any case.
        """
        id_ = {"user_id": user_id}
        await lock_for_update(connection, user_id)
        names = await connection.execute(SQL["username_and_epoch"], id_)
        ((former_username, newest_epoch),) = await names.fetchall()
        # A check in memory may be a second late, and takes place before the current password is
        # checked. This one is neither: of two concurrent changes, the second one is refused.
        if token_epoch is not None and token_epoch < newest_epoch:
            raise UnauthenticatedError
        cursor = connection.cursor(row_factory=kwargs_row(messages.user))
        with _unique_names():
            await cursor.execute(SQL["update_user"], id_ | asdict(changes))
        (user,) = await cursor.fetchall()
        if user.username.lower() != former_username.lower():
            await _refuse_kept_username(connection, user.username, user_id)
            await connection.execute(SQL["keep_username"], id_ | {"username": former_username})
            await connection.execute(SQL["release_usernames"], id_ | {"kept": MAX_KEPT})
        if changes.password_hash is not None:
            await connection.execute(SQL["delete_sessions_of_user"], id_)
        if changes.password_hash is not None or changes.email is not None:
            await connection.execute(SQL["end_tokens"], id_)
        return user

    @_command
    async def delete_user(self, connection: Connection, user_id: int) -> None:
        """Delete a user, and erase their tweets and follows, or the first of them; see erasure.py.

        Raises:
            UserNotFoundError: there is no such user.
        """
        await erasure.delete_user(connection, user_id)

    async def create_tweets(
        self, drafts: Sequence[TweetDraft]
    ) -> tuple[list[Tweet | FanfareError], Moment]:
        """Create tweets in one transaction.

        The row of an author that another transaction has locked is not waited for: these drafts get
        UserBusyError, and the others are created.

        Retries are recognised by their request_id. If several of the drafts have the same user and
        request_id, the first is the original, and the others are its retries.

        Returns:
            For each draft, in order, the tweet or the reason why it was not created; and a moment
            at or after the commit.

        Raises:
            RolledBackError: the transaction failed, and created nothing.
        """
        async with self._database.connection() as connection:
            results, after_commit = await self._create_tweets(connection, drafts)
            return results, self._moment(connection, after_commit)

    async def _create_tweets(
        self, connection: Connection, drafts: Sequence[TweetDraft]
    ) -> tuple[list[Tweet | FanfareError], PGresult]:
        """Create tweets in a transaction; returns as TweetCreator.create() does."""
        for tries_left in reversed(range(ID_TRIES)):
            try:
                return await self._tweets.create(connection, drafts)
            except sqlstate.UniqueViolation as error:
                # If the clock was set back, ids can be drawn a second time; see decision 0002.
                if not tries_left:
                    raise RolledBackError from error
                METRICS.add(Metric.TWEET_ID_REPEATED)
            except _NOT_FOR_SMALLER_GROUPS:
                raise
            except Exception as error:
                raise RolledBackError from error
        raise AssertionError  # the last try returns or raises

    @_command
    async def update_tweet(self, connection: Connection, tweet_id: int, content: str) -> Tweet:
        """Replace the content of a tweet and return the tweet.

        Raises:
            TweetNotFoundError: there is no such tweet.
        """
        cursor = connection.cursor(row_factory=class_row(_UpdatedTweet))
        await cursor.execute(SQL["update_tweet"], {"tweet_id": tweet_id, "content": content})
        row = await cursor.fetchone()
        if row is None:
            raise TweetNotFoundError(tweet_id)
        tweet = messages.tweet(row.id, row.user_id, row.content, row.created_at, row.updated_at)
        await enqueue_events(connection, [events.tweet_updated(tweet, row.version)])
        return tweet

    @_command
    async def delete_tweet(self, connection: Connection, tweet_id: int) -> None:
        """Delete a tweet.

        Raises:
            TweetNotFoundError: there is no such tweet.
        """
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(SQL["delete_tweet"], {"tweet_id": tweet_id})
        author_id = await cursor.fetchone()
        if author_id is None:
            raise TweetNotFoundError(tweet_id)
        await connection.execute(SQL["expire_request"], {"tweet_id": tweet_id})
        await enqueue_events(connection, [events.tweet_deleted(tweet_id, author_id)])

    @_command
    async def follow(self, connection: Connection, follower_id: int, followed_id: int) -> None:
        """Have one user follow another; see follows.py."""
        await follows.follow(connection, follower_id, followed_id, self._max_following)

    @_command
    async def unfollow(self, connection: Connection, follower_id: int, followed_id: int) -> None:
        """End a follow; see follows.py."""
        await follows.unfollow(connection, follower_id, followed_id)

    async def tweet_author(self, tweet_id: int) -> int | None:
        """Return the id of a tweet's author, or None if there is no such tweet."""
        async with self._database.connection() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(SQL["tweet_author"], {"tweet_id": tweet_id})
            return await cursor.fetchone()

    async def is_admin(self, user_id: int) -> bool:
        """Return whether a user exists and is an administrator."""
        async with self._database.connection() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(SQL["is_admin"], {"user_id": user_id})
            return bool(await cursor.fetchone())

    async def committed(self) -> Moment:
        """Return a moment at or after every commit so far, and wake the relay."""
        _, moment = await self._commit_nothing()
        return moment

    @_command
    async def _commit_nothing(self, connection: Connection) -> None:
        """Do nothing."""

    def _moment(self, connection: Connection, after_commit: PGresult) -> Moment:
        """Return the moment that the statement after a commit has read."""
        committed = committed_state(connection, after_commit)
        self._tweets.follows_drawn = committed.follows_drawn
        return Moment(committed.history, committed.lsn)


async def _refuse_kept_username(connection: Connection, username: str, user_id: int) -> None:
    """Raise UsernameTakenError if a user has just taken a name that is kept for another user."""
    taken = {"username": username, "user_id": user_id}
    if await (await connection.execute(SQL["is_username_kept"], taken)).fetchone():
        raise UsernameTakenError


@contextmanager
def _unique_names() -> Iterator[None]:
    """Translate the violation of a unique index on users."""
    try:
        yield
    except sqlstate.UniqueViolation as error:
        raise _TAKEN[error.diag.constraint_name or ""] from error
