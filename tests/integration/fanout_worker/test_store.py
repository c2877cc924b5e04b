"""The contract of FollowerStore, for Postgres and for the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import psycopg
import pytest
from helpers.fakes.worker_postgres import FakeFollowerStore
from helpers.fanfare import Fanfare
from psycopg.pq import TransactionStatus

from core.feed.history import OtherHistoryError
from core.storage.postgres import BlockingConnection
from fanout_worker.protocols import FollowerStore
from fanout_worker.store import PostgresFollowerStore

PAGE_SIZE = 3


@dataclass
class Case:
    """A store, and a function that gives an author there a new follower."""

    store: FollowerStore
    follow: Callable[[int], int]
    """Have a new user follow the author; return the follower."""
    author: int
    nobody: int
    """A user without followers."""


@pytest.fixture(params=["postgres", "fake"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """Return a case for each kind of store."""
    if request.param == "fake":
        fake = FakeFollowerStore(page_size=PAGE_SIZE)

        def follow_in_fake(author: int) -> int:
            fake.lsn += 1
            followers = fake.followers_of.setdefault(author, [])
            followers.append(100 + len(followers))
            return followers[-1]

        yield Case(fake, follow_in_fake, author=1, nobody=2)
        return
    fanfare: Fanfare = request.getfixturevalue("fanfare")
    settings = fanfare.settings
    author, nobody = fanfare.user(), fanfare.user()
    store = PostgresFollowerStore(
        settings.primary_dsn(), settings.replica_dsn(), settings.silence_seconds, PAGE_SIZE
    )
    yield Case(store, lambda _: fanfare.user(author).id, author.id, nobody.id)
    store.close()


class TestFollowerStore:
    """What every FollowerStore must do."""

    def test_the_moment_does_not_go_back(self, case: Case) -> None:
        """A later moment is of the same history, and has later commits."""
        before, _ = case.store.now()
        case.follow(case.author)
        after, _ = case.store.now()
        assert after.history == before.history
        assert after.lsn > before.lsn

    def test_followers_are_whole_up_to_the_limit(self, case: Case) -> None:
        """A user with more followers yields one more than the limit."""
        followers = sorted(case.follow(case.author) for _ in range(7))
        now, _ = case.store.now()
        found = {
            user: sorted(ids.tolist())
            for user, ids in case.store.followers([case.author, case.nobody], now, 9)
        }
        assert found == {case.author: followers, case.nobody: []}
        assert [ids.size for _, ids in case.store.followers([case.author], now, 5)] == [6]

    def test_pages_have_each_follower_once(self, case: Case) -> None:
        """A user who followed throughout is on exactly one page."""
        followers = sorted(case.follow(case.author) for _ in range(7))
        now, _ = case.store.now()
        pages = [page.tolist() for page in case.store.follower_pages(case.author, now)]
        assert [len(page) for page in pages] == [3, 3, 1]
        assert sorted(id_ for page in pages for id_ in page) == followers
        assert list(case.store.follower_pages(case.nobody, now)) == []

    def test_another_history_is_refused(self, case: Case) -> None:
        """An LSN of another history means something else on this server."""
        now, _ = case.store.now()
        other = replace(now, history="ffffffffff")
        with pytest.raises(OtherHistoryError):
            list(case.store.followers([case.author], other, 9))
        with pytest.raises(OtherHistoryError):
            list(case.store.follower_pages(case.author, other))

    def test_the_current_history_has_not_ended(self, case: Case) -> None:
        """The keys of the current history in Redis must not be removed."""
        now, _ = case.store.now()
        assert now.history not in case.store.ended_histories()

    def test_a_closed_store_reconnects(self, case: Case) -> None:
        """The worker closes it after each failure."""
        before, _ = case.store.now()
        case.store.close()
        after, _ = case.store.now()
        assert after.history == before.history


def test_followers_are_read_in_the_transaction_that_asked(fanfare: Fanfare) -> None:
    """Outside of a transaction, a pooler could send the next statement to another server."""
    dsn = fanfare.settings.primary_dsn()
    with closing(PostgresFollowerStore(dsn, dsn, 15.0)) as store:
        now, _ = store.now()
        with store._connect_at(now) as connection:
            assert _is_in_transaction(connection)
        assert not _is_in_transaction(connection)
        with pytest.raises(OtherHistoryError), store._connect_at(replace(now, history="f" * 10)):
            pass
        assert not _is_in_transaction(connection)


def _is_in_transaction(connection: BlockingConnection) -> bool:
    return connection.info.transaction_status == TransactionStatus.INTRANS


def test_a_silent_postgres_is_a_psycopg_error() -> None:
    """The worker retries psycopg.Error, as the fake raises it."""
    store = PostgresFollowerStore("host=127.0.0.1 port=1", "host=127.0.0.1 port=1", 1.0)
    with pytest.raises(psycopg.Error):
        store.now()
