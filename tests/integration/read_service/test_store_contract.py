"""The contract of TimelineStore in read_service/protocols.py, on a real Postgres and the fake."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from helpers.fakes.read_postgres import FakePostgres
from helpers.fakes.steps import Steps
from helpers.fanfare import Fanfare

from core.errors import ConsistencyTokenLostError, NotYetConsistentError
from core.feed.history import Lsn, Moment, OtherHistoryError
from core.storage.postgres_pool import Database
from read_service.databases import Databases
from read_service.freshness import ANY, AppliedFreshness, TokenFreshness
from read_service.pages import FROM_THE_TOP
from read_service.protocols import TimelineStore
from read_service.store import PostgresStore

OTHER_HISTORY = "0000000001"


class Commands(Protocol):
    """What the write service does, one commit each."""

    def create_user(self) -> int:
        """Return the id of a new user."""

    def create_tweet(self, author: int, content: str) -> int:
        """Return the id of a new tweet."""

    def update_tweet(self, tweet_id: int, content: str) -> None:
        """Change the text of a tweet."""

    def delete_tweet(self, tweet_id: int) -> None:
        """Delete a tweet."""

    def follow(self, follower: int, followed: int) -> None:
        """Make one user follow another."""

    def unfollow(self, follower: int, followed: int) -> None:
        """Make one user unfollow another."""

    def pull(self, author: int) -> None:
        """Make an author a pull author."""

    def moment(self) -> Moment:
        """Return the moment after the last commit."""


class RealCommands:
    """The commands in plain SQL, without events."""

    def __init__(self, fanfare: Fanfare) -> None:
        self._sql = fanfare.sql

    def create_user(self) -> int:
        """Return the id of a new user."""
        name = f"contract_{uuid.uuid4().hex[:20]}"
        ((user_id,),) = self._sql("INSERT INTO users (username) VALUES (%s) RETURNING id", name)
        return int(user_id)

    def create_tweet(self, author: int, content: str) -> int:
        """Return the id of a new tweet."""
        query = (
            "INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
            " VALUES (next_tweet_id(), %s, %s, now(), now()) RETURNING id"
        )
        ((tweet_id,),) = self._sql(query, author, content)
        return int(tweet_id)

    def update_tweet(self, tweet_id: int, content: str) -> None:
        """Change the text of a tweet."""
        query = "UPDATE tweets SET content = %s, version = version + 1 WHERE id = %s"
        self._sql(query, content, tweet_id)

    def delete_tweet(self, tweet_id: int) -> None:
        """Delete a tweet."""
        self._sql("DELETE FROM tweets WHERE id = %s", tweet_id)

    def follow(self, follower: int, followed: int) -> None:
        """Make one user follow another."""
        query = "INSERT INTO follows (follower_id, followed_id) VALUES (%s, %s)"
        self._sql(query, follower, followed)

    def unfollow(self, follower: int, followed: int) -> None:
        """Make one user unfollow another."""
        query = "DELETE FROM follows WHERE follower_id = %s AND followed_id = %s"
        self._sql(query, follower, followed)

    def pull(self, author: int) -> None:
        """Make an author a pull author."""
        self._sql("UPDATE users SET pulled = true WHERE id = %s", author)

    def moment(self) -> Moment:
        """Return the moment after the last commit."""
        query = "SELECT valid_history(), (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"
        ((history, lsn),) = self._sql(query)
        return Moment(history, Lsn(lsn))


@dataclass
class Subject:
    """A store, and the commands that change what it reads."""

    store: TimelineStore
    commands: Commands


@pytest.fixture(params=["fake", "postgres"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Return a store on a primary."""
    if request.param == "fake":
        fake = FakePostgres("aaaaaaaaaa", Steps())
        yield Subject(PostgresStore(Databases(fake, fake)), fake)
        return
    fanfare: Fanfare = request.getfixturevalue("fanfare")
    database = Database(fanfare.settings.primary_dsn(), "contract", max_size=2)
    await database.open()
    yield Subject(PostgresStore(Databases(database, database)), RealCommands(fanfare))
    await database.close()


def _contents(tweets: Sequence[bytes]) -> list[str]:
    """Return the texts of messages, each preceded by its length, which is one byte here."""
    assert all(tweet[0] == len(tweet) - 1 for tweet in tweets)
    return [Tweet.FromString(tweet[1:]).content for tweet in tweets]


async def test_a_home_timeline_is_the_join(subject: Subject) -> None:
    """A page has the tweets of all followed users below the id, newest first, after the offset."""
    commands, store = subject.commands, subject.store
    reader, one, two, stranger = (commands.create_user() for _ in range(4))
    commands.follow(reader, one)
    commands.follow(reader, two)
    commands.follow(stranger, reader)
    ids = [commands.create_tweet(author, f"{n}") for n, author in enumerate((one, two, one, two))]
    commands.create_tweet(stranger, "not followed")
    commands.create_tweet(reader, "one's own")
    page = await store.home_timeline(reader, FROM_THE_TOP, 0, 10, ANY)
    assert page.ids == ids[::-1]
    assert _contents(page.tweets) == ["3", "2", "1", "0"]
    assert (await store.home_timeline(reader, ids[3], 1, 2, ANY)).ids == [ids[1], ids[0]]
    assert (await store.home_timeline(reader, ids[0], 0, 2, ANY)).ids == []
    commands.unfollow(reader, two)
    assert (await store.home_timeline(reader, FROM_THE_TOP, 0, 1, ANY)).ids == [ids[2]]


async def test_tweets_have_their_newest_version(subject: Subject) -> None:
    """Tweets are found by id in their newest version; deleted and unknown ones are not found."""
    commands, store = subject.commands, subject.store
    author = commands.create_user()
    kept, gone = commands.create_tweet(author, "old"), commands.create_tweet(author, "gone")
    before = (await store.tweets([kept], ANY))[kept]
    commands.update_tweet(kept, "new")
    commands.delete_tweet(gone)
    found = await store.tweets([gone, kept, 2**62], ANY)
    assert list(found) == [kept]
    assert await store.existing_tweets([gone, kept, 2**62], ANY) == [kept]
    assert found[kept].version > before.version
    assert Tweet.FromString(found[kept].message).content == "new"


async def test_a_base_has_the_newest_ids_and_the_pull_authors(subject: Subject) -> None:
    """The ids are cut off at the limit; only followed pull authors are named."""
    commands, store = subject.commands, subject.store
    reader, pushed, pulled, stranger = (commands.create_user() for _ in range(4))
    commands.follow(reader, pushed)
    commands.follow(reader, pulled)
    for author in (pulled, stranger):
        commands.pull(author)
    ids = [commands.create_tweet(author, "x") for author in (pushed, pulled, pushed)]
    found = await store.newest_ids([reader, stranger], 2, ANY)
    assert {user_id: (base.ids, base.pull_authors) for user_id, base in found.items()} == {
        reader: ([ids[2], ids[1]], [pulled]),
        stranger: ([], []),
    }
    bases = await store.newest_ids_of_authors([pushed, pulled, stranger], 1, ANY)
    assert {author: base.ids for author, base in bases.items()} == {
        pushed: [ids[2]],
        pulled: [ids[1]],
        stranger: [],
    }


async def test_whether_a_user_exists(subject: Subject) -> None:
    """A user exists once created; an id that was never given out does not."""
    user = subject.commands.create_user()
    assert await subject.store.user_exists(user, ANY)
    assert not await subject.store.user_exists(2**62, ANY)


async def test_a_primary_has_what_it_has_committed(subject: Subject) -> None:
    """A consistency token and a checkpoint of the current history are honoured."""
    reader = subject.commands.create_user()
    moment = subject.commands.moment()
    for freshness in (TokenFreshness(moment), AppliedFreshness(moment)):
        assert await subject.store.user_exists(reader, freshness)
        assert not await subject.store.user_exists(2**62, freshness)


async def test_a_token_of_the_future_is_refused(subject: Subject) -> None:
    """A consistency token that no server has reached is not answered."""
    reader = subject.commands.create_user()
    moment = Moment(subject.commands.moment().history, Lsn(2**62))
    with pytest.raises(NotYetConsistentError):
        await subject.store.home_timeline(reader, FROM_THE_TOP, 0, 1, TokenFreshness(moment))


async def test_a_token_of_a_lost_history_is_refused(subject: Subject) -> None:
    """What a consistency token of another history stands for may be lost."""
    token = TokenFreshness(Moment(OTHER_HISTORY, Lsn(1)))
    with pytest.raises(ConsistencyTokenLostError):
        await subject.store.tweets([1], token)


async def test_nothing_is_stored_from_another_history(subject: Subject) -> None:
    """No server meets what Redis has of another history."""
    reader = subject.commands.create_user()
    moment = Moment(OTHER_HISTORY, Lsn(1))
    with pytest.raises(OtherHistoryError):
        await subject.store.newest_ids([reader], 1, AppliedFreshness(moment))
