"""A fake Postgres for the read service: it answers the statements that timelines and tweets need.

Each statement is one atomic step and sees what was committed before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from helpers.fakes.steps import Steps
from psycopg.rows import AsyncRowFactory, DictRow

from core.errors import DatabaseUnavailableError
from core.feed.history import Lsn, Moment
from core.storage.shares import Cost
from read_service.databases import statement
from read_service.freshness import IS_PRIMARY, AppliedFreshness, TokenFreshness

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
Parameters = Mapping[str, Any]
Rows = list[DictRow]


@dataclass
class Tweet:
    """A row of tweets."""

    id: int
    author: int
    content: str
    version: int = 1


@dataclass
class State:
    """What a server has committed."""

    history: str
    lsn: Lsn = field(default=Lsn(0))
    ended: dict[str, Lsn] = field(default_factory=dict)
    """Former histories, and where they ended."""
    users: set[int] = field(default_factory=set)
    pull_authors: set[int] = field(default_factory=set)
    tweets: dict[int, Tweet] = field(default_factory=dict)
    follows: set[tuple[int, int]] = field(default_factory=set)
    """(follower, followed)"""

    def timeline(self, user_id: int, before: int = 2**63) -> list[Tweet]:
        """Return the home timeline of a user below an id: the oracle."""
        followed = self.followed(user_id)
        found = [t for t in self.tweets.values() if t.author in followed and t.id < before]
        return sorted(found, key=lambda tweet: tweet.id, reverse=True)

    def tweets_of(self, author: int) -> list[Tweet]:
        """Return the tweets of an author, newest first."""
        found = [tweet for tweet in self.tweets.values() if tweet.author == author]
        return sorted(found, key=lambda tweet: tweet.id, reverse=True)

    def followed(self, user_id: int) -> set[int]:
        """Return the users that a user follows."""
        return {followed for follower, followed in self.follows if follower == user_id}


class FakePostgres:
    """A primary, or a replica that `copy()` made and that changes only by `replay()`."""

    def __init__(self, history: str, steps: Steps) -> None:
        self.state = State(history)
        self.is_up = True
        self.is_replica = False
        self.is_history_valid = True
        """False after a restart, until a new history has begun."""
        self.steps = steps
        self._next_id = 0

    # What the write service does. Each method is one commit.

    def create_user(self) -> int:
        """Return the id of a new user."""
        self._commit()
        self.state.users.add(self._new_id())
        return self._next_id

    def create_tweet(self, author: int, content: str = "text") -> int:
        """Return the id of a new tweet."""
        self._commit()
        tweet_id = self._new_id()
        self.state.tweets[tweet_id] = Tweet(tweet_id, author, content)
        return tweet_id

    def update_tweet(self, tweet_id: int, content: str) -> None:
        """Change the text of a tweet."""
        self._commit()
        self.state.tweets[tweet_id].content = content
        self.state.tweets[tweet_id].version += 1

    def delete_tweet(self, tweet_id: int) -> None:
        """Delete a tweet."""
        self._commit()
        del self.state.tweets[tweet_id]

    def follow(self, follower: int, followed: int) -> None:
        """Make one user follow another."""
        self._commit()
        self.state.follows.add((follower, followed))

    def unfollow(self, follower: int, followed: int) -> None:
        """Make one user unfollow another."""
        self._commit()
        self.state.follows.discard((follower, followed))

    def pull(self, author: int) -> None:
        """Make an author a pull author."""
        self._commit()
        self.state.pull_authors.add(author)

    def begin_history(self, history: str) -> None:
        """Begin a history; the former one has ended here."""
        self.state.ended[self.state.history] = self.state.lsn
        self.state.history = history
        self.is_history_valid = True

    def moment(self) -> Moment:
        """Return the moment after the last commit."""
        return Moment(self.state.history, self.state.lsn)

    # Replication.

    def copy(self) -> FakePostgres:
        """Return a replica that has what is committed now."""
        replica = FakePostgres(self.state.history, self.steps)
        replica.is_replica = True
        replica.replay(self)
        return replica

    def replay(self, primary: FakePostgres) -> None:
        """Catch up with the primary."""
        self.state = deepcopy(primary.state)

    # What the read service sees.

    @asynccontextmanager
    async def connection(self, _cost: Cost = Cost.CHEAP) -> AsyncIterator[FakeConnection]:
        """Lend a connection."""
        self.check()
        yield FakeConnection(self)

    def check(self) -> None:
        """Raise DatabaseUnavailableError if the server is down."""
        if not self.is_up:
            raise DatabaseUnavailableError

    @property
    def name(self) -> str:
        """The name of this server in the steps."""
        return "replica" if self.is_replica else "primary"

    async def answer(self, query: str, parameters: Parameters) -> Rows:
        """Answer a statement."""
        asked = _STATEMENTS[query]
        await self.steps.take(f"{self.name}: {asked.query.replace('_', ' ')}")
        self.check()
        if asked.question is None:
            return _QUERIES[asked.query](self, parameters)
        is_fresh = asked.question(self, parameters.get("history", ""), parameters.get("lsn", 0))
        return with_answer(is_fresh, _QUERIES[asked.query](self, parameters) if is_fresh else [])

    def has_token(self, history: str, lsn: int) -> bool | None:
        """Answer the question of this name as its SQL does."""
        if history in self.state.ended and lsn <= self.state.ended[history]:
            return True
        if history != self.state.history:
            return None
        return self.state.lsn >= lsn and (self.is_replica or self.is_history_valid)

    def has_reached(self, history: str, lsn: int) -> bool:
        """Answer the question has_reached as its SQL does."""
        has_it = self.state.lsn >= lsn if self.is_replica else self.is_history_valid
        return history == self.state.history and has_it

    def is_primary(self, _history: str, _lsn: int) -> bool:
        """Answer the question of this name as its SQL does."""
        return not self.is_replica

    def _commit(self) -> None:
        self.state.lsn = Lsn(self.state.lsn + 1)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id


def with_answer(is_fresh: bool | None, rows: Rows) -> Rows:
    """Return rows as the statement if_fresh returns them."""
    found = [{"is_row": True, **row} for row in rows] or [{"is_row": None}]
    return [{"is_fresh": is_fresh, **row} for row in found]


class FakeConnection:
    """A connection to a fake server."""

    def __init__(self, server: FakePostgres) -> None:
        self._server = server

    @asynccontextmanager
    async def cursor(
        self,
        *,
        row_factory: AsyncRowFactory[DictRow],  # noqa: ARG002 - all rows are dictionaries here
        binary: bool,  # noqa: ARG002 - no row is sent here
    ) -> AsyncIterator[FakeCursor]:
        """Return a cursor."""
        yield FakeCursor(self._server)


class FakeCursor:
    """Runs a statement and gives its rows."""

    def __init__(self, server: FakePostgres) -> None:
        self._server = server
        self._rows: Rows = []

    async def execute(self, query: str, params: Parameters) -> None:
        """Run the statement."""
        self._rows = await self._server.answer(query, params)

    async def fetchall(self) -> Sequence[DictRow]:
        """Return all rows."""
        return self._rows


def _columns(tweet: Tweet) -> DictRow:
    return {
        "id": tweet.id,
        "user_id": tweet.author,
        "content": tweet.content,
        "created_at": EPOCH,
        "updated_at": EPOCH,
    }


def _ids(tweets: Sequence[Tweet], limit: int) -> list[int]:
    return [tweet.id for tweet in tweets[:limit]]


def _user_exists(server: FakePostgres, asked: Parameters) -> Rows:
    return [{"found": True}] if asked["user_id"] in server.state.users else []


def _tweets_by_id(server: FakePostgres, asked: Parameters) -> Rows:
    tweets = server.state.tweets
    found = [tweets[id_] for id_ in asked["ids"] if id_ in tweets]
    return [{**_columns(tweet), "version": tweet.version} for tweet in found]


def _existing_tweets(server: FakePostgres, asked: Parameters) -> Rows:
    return [{"id": id_} for id_ in asked["ids"] if id_ in server.state.tweets]


def _home_timeline(server: FakePostgres, asked: Parameters) -> Rows:
    page = server.state.timeline(asked["user_id"], asked["before"])
    return [_columns(tweet) for tweet in page[asked["offset"] : asked["count"]]]


def _newest_ids(server: FakePostgres, asked: Parameters) -> Rows:
    state = server.state
    return [
        {
            "user_id": user_id,
            "ids": _ids(state.timeline(user_id, asked["before"]), asked["count"]),
            "pull_authors": sorted(state.followed(user_id) & state.pull_authors),
        }
        for user_id in asked["user_ids"]
    ]


def _newest_ids_of_authors(server: FakePostgres, asked: Parameters) -> Rows:
    return [
        {"author": author, "ids": _ids(server.state.tweets_of(author), asked["limit"])}
        for author in asked["user_ids"]
    ]


_QUERIES: dict[str, Callable[[FakePostgres, Parameters], Rows]] = {
    "user_exists": _user_exists,
    "tweets_by_id": _tweets_by_id,
    "existing_tweets": _existing_tweets,
    "home_timeline": _home_timeline,
    "newest_ids": _newest_ids,
    "newest_ids_of_authors": _newest_ids_of_authors,
}


@dataclass(frozen=True)
class _Statement:
    """What the text of a statement asks."""

    query: str
    question: Callable[[FakePostgres, str, int], bool | None] | None


_STATEMENTS = {
    statement(query, text): _Statement(query, question)
    for query in _QUERIES
    for text, question in (
        (None, None),
        (TokenFreshness.question, FakePostgres.has_token),
        (AppliedFreshness.question, FakePostgres.has_reached),
        (IS_PRIMARY, FakePostgres.is_primary),
    )
}
