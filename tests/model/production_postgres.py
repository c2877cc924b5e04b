"""The model's Postgres servers, with the interface that the read service's own code needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fanfare.common.v1 import common_pb2 as pb
from helpers.fakes.read_postgres import EPOCH
from helpers.fakes.steps import others_run
from model import reader
from model.events import Tweet
from model.postgres import Moment, Postgres, Replica, SessionLostError, Snapshot
from model.redis import home
from model.world import World
from psycopg.rows import AsyncRowFactory, DictRow

from core.errors import DatabaseUnavailableError
from core.storage.postgres import HAS_REACHED
from core.storage.queries import load_queries
from core.storage.shares import Cost
from read_service.rows import TweetRow

SQL = load_queries("read_service")


class _Session:
    """A session on a server, which is its connection and its cursor at once."""

    def __init__(self, world: World, server: Postgres | Replica) -> None:
        self.world = world
        self.server = server
        self._rows: list[DictRow] = []

    def has_token(self, token: Moment) -> bool | None:
        """Answer the statement has_token."""
        raise NotImplementedError

    def has_reached(self, asked: Moment) -> bool:
        """Answer the statement HAS_REACHED."""
        raise NotImplementedError

    @asynccontextmanager
    async def cursor(self, *, row_factory: AsyncRowFactory[DictRow]) -> AsyncIterator[_Session]:  # noqa: ARG002 - all rows are dictionaries here
        """Return a cursor."""
        yield self

    async def execute(self, query: str, params: Mapping[str, Any]) -> _Session:
        """Run a statement."""
        try:
            self.server.check()
        except SessionLostError:
            raise DatabaseUnavailableError from None
        self._rows = self._answer(query, params)
        await others_run()
        return self

    async def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row."""
        return tuple(self._rows[0].values()) if self._rows else None

    async def fetchall(self) -> Sequence[DictRow]:
        """Return all rows."""
        return self._rows

    def _answer(self, query: str, params: Mapping[str, Any]) -> list[DictRow]:
        if query == SQL["has_token"]:
            return [{"has_token": self.has_token(Moment(params["history"], params["lsn"]))}]
        if query == HAS_REACHED:
            return [{"has_reached": self.has_reached(Moment(params["history"], params["lsn"]))}]
        return _STATEMENTS[query](self.server.now, params)


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
    ids, pulled = reader.base(home(asked["user_id"]), now)
    return [{"ids": ids, "pull_authors": pulled}]


def _newest_ids_of_authors(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    return [
        {"author": author, "ids": now.tweets_of(author, asked["limit"])}
        for author in asked["user_ids"]
    ]


def _user_exists(now: Snapshot, asked: Mapping[str, Any]) -> list[DictRow]:
    return [{"found": True}] if asked["user_id"] in now.users else []


_STATEMENTS: dict[str, Callable[[Snapshot, Mapping[str, Any]], list[DictRow]]] = {
    SQL["tweets_by_id"]: _tweets_by_id,
    SQL["existing_tweets"]: _existing_tweets,
    SQL["home_timeline"]: _home_timeline,
    SQL["newest_ids"]: _newest_ids,
    SQL["newest_ids_of_authors"]: _newest_ids_of_authors,
    SQL["user_exists"]: _user_exists,
}


def message_of(tweet: Tweet) -> bytes:
    """Return a tweet of the model as production serialises it."""
    return TweetRow(**_columns(tweet)).serialise()


def tweet_in(message: bytes) -> Tweet:
    """Return the tweet of the model in a serialised message."""
    found = pb.Tweet.FromString(message)
    version, text = found.content.split(" ")
    return Tweet(found.id, found.user_id, int(version), int(text))
