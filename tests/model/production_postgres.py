"""The model's Postgres servers, with the interface that the read service's own code needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fanfare.common.v1 import common_pb2 as pb
from helpers.fakes.read_postgres import EPOCH, with_answer
from helpers.fakes.steps import others_run
from model import lists, reader
from model.events import Tweet
from model.postgres import Moment, Postgres, Replica, SessionLostError, Snapshot
from model.redis import home
from model.world import World
from psycopg.rows import AsyncRowFactory, DictRow

from core.errors import DatabaseUnavailableError
from core.storage.shares import Cost
from read_service.databases import statement
from read_service.freshness import AppliedFreshness, TokenFreshness
from read_service.rows import TweetRow


class _Session:
    """A session on a server, which is its connection and its cursor at once."""

    def __init__(self, world: World, server: Postgres | Replica) -> None:
        self.world = world
        self.server = server
        self._rows: list[DictRow] = []

    def has_token(self, token: Moment) -> bool | None:
        """Answer the question has_token."""
        raise NotImplementedError

    def has_reached(self, asked: Moment) -> bool:
        """Answer the question has_reached."""
        raise NotImplementedError

    @asynccontextmanager
    async def cursor(
        self,
        *,
        row_factory: AsyncRowFactory[DictRow],  # noqa: ARG002 - all rows are dictionaries here
        binary: bool,  # noqa: ARG002 - no row is sent here
    ) -> AsyncIterator[_Session]:
        """Return a cursor."""
        yield self

    async def execute(self, query: str, params: Mapping[str, Any]) -> None:
        """Run a statement."""
        try:
            self.server.check()
        except SessionLostError:
            raise DatabaseUnavailableError from None
        self._rows = self._answer(query, params)
        await others_run()

    async def fetchall(self) -> Sequence[DictRow]:
        """Return all rows."""
        return self._rows

    def _answer(self, query: str, params: Mapping[str, Any]) -> list[DictRow]:
        run, question = _STATEMENTS[query]
        if question is None:
            return run(self.server.now, params)
        asked = Moment(params["history"], params["lsn"])
        is_token = question == TokenFreshness.question
        is_fresh = self.has_token(asked) if is_token else self.has_reached(asked)
        return with_answer(is_fresh, run(self.server.now, params) if is_fresh else [])


class PrimarySession(_Session):
    """A session on a primary."""

    server: Postgres

    def has_token(self, token: Moment) -> bool | None:
        """Answer as the model's primary does."""
        if self.server.valid_history() is None:
            return False
        return reader.is_reached(self.world.rules, self.server.now.relay, self.server.lsn, token)

    def has_reached(self, asked: Moment) -> bool:
        """Answer as the model's primary does."""
        return self.server.valid_history() == asked.history


class ReplicaSession(_Session):
    """A session on a replica."""

    server: Replica

    def has_token(self, token: Moment) -> bool | None:
        """Answer as the model's replica does."""
        if self.server.history(self.world.rules) is None:
            return False
        return reader.is_reached(
            self.world.rules, self.server.now.relay, self.server.replayed, token
        )

    def has_reached(self, asked: Moment) -> bool:
        """Answer as the model's replica does."""
        is_same = self.server.history(self.world.rules) == asked.history
        return is_same and self.server.replayed >= asked.lsn


class Server:
    """A role, primary or replica: each connection is a session on the server that has it then."""

    def __init__(self, connect: Callable[[], _Session]) -> None:
        self._connect = connect

    @asynccontextmanager
    async def connection(self, _cost: Cost = Cost.CHEAP) -> AsyncIterator[_Session]:
        """Lend a connection."""
        yield self._connect()


def _columns(tweet: Tweet) -> DictRow:
    return {
        "id": tweet.id,
        "user_id": tweet.author,
        "content": f"{tweet.version} {tweet.text}",
        "created_at": EPOCH,
        "updated_at": EPOCH,
    }


def _tweets_by_id(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    found = [now.tweets[id_] for id_ in asked["ids"] if id_ in now.tweets]
    return [{**_columns(tweet), "version": tweet.version} for tweet in found]


def _existing_tweets(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    return [{"id": id_} for id_ in asked["ids"] if id_ in now.tweets]


def _home_timeline(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    page = now.timeline(asked["user_id"], asked["before"], asked["count"])
    return [_columns(tweet) for tweet in page]


def _newest_ids(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    bases = {user_id: lists.base(home(user_id), now) for user_id in asked["user_ids"]}
    return [
        {"user_id": user_id, "ids": ids, "pull_authors": pulled}
        for user_id, (ids, pulled) in bases.items()
    ]


def _newest_ids_of_authors(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    return [
        {"author": author, "ids": now.tweets_of(author, asked["limit"])}
        for author in asked["user_ids"]
    ]


def _user_exists(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    return [{"found": True}] if asked["user_id"] in now.users else []


_QUERIES: dict[str, Callable[[Snapshot, Mapping[str, Any]], list[DictRow]]] = {
    "tweets_by_id": _tweets_by_id,
    "existing_tweets": _existing_tweets,
    "home_timeline": _home_timeline,
    "newest_ids": _newest_ids,
    "newest_ids_of_authors": _newest_ids_of_authors,
    "user_exists": _user_exists,
}
_STATEMENTS = {
    statement(query, question): (run, question)
    for query, run in _QUERIES.items()
    for question in (None, TokenFreshness.question, AppliedFreshness.question)
}


def message_of(tweet: Tweet) -> bytes:
    """Return a tweet of the model as production serialises it."""
    return TweetRow(**_columns(tweet)).serialise()


def tweet_in(message: bytes) -> Tweet:
    """Return the tweet of the model in a serialised message."""
    found = pb.Tweet.FromString(message)
    version, text = found.content.split(" ")
    return Tweet(found.id, found.user_id, int(version), int(text))
