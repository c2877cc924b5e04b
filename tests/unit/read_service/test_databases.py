"""Which Postgres server answers a read, and the error if none is fresh enough."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest
from helpers.fakes.read_postgres import FakePostgres
from helpers.fakes.reading import Reading

from core.errors import (
    ConsistencyTokenLostError,
    DatabaseUnavailableError,
    NotYetConsistentError,
)
from core.feed.history import Lsn, Moment, OtherHistoryError
from core.storage.shares import Cost
from read_service.databases import REPLICA_FAILURES_TO_OPEN, REPLICA_OPEN_SECONDS, Databases
from read_service.freshness import ANY, AppliedFreshness, Freshness, TokenFreshness
from read_service.pages import FROM_THE_TOP
from read_service.servers import Connection
from read_service.store import PostgresStore

OTHER_HISTORY = "bbbbbbbbbb"


class Counted:
    """A server that counts how often it is asked for a connection."""

    def __init__(self, server: FakePostgres) -> None:
        self._server = server
        self.asked = 0

    def connection(self, cost: Cost = Cost.CHEAP) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection."""
        self.asked += 1
        return self._server.connection(cost)


@pytest.fixture
def reading() -> Reading:
    """Return a read service whose replica lacks only the last tweet of user 1."""
    reading = Reading(has_replica=True)
    author = reading.user()
    reader = reading.reader_of(author)
    reading.tweet(author)
    reading.replica.replay(reading.primary)
    reading.tweet(author)
    assert (author, reader) == (1, 2)
    return reading


async def _timeline(reading: Reading, freshness: Freshness) -> int:
    """Return how many tweets the timeline of user 2 shows."""
    return len((await reading.store.home_timeline(2, FROM_THE_TOP, 0, 9, freshness)).ids)


async def test_the_replica_answers_what_it_may(reading: Reading) -> None:
    """A read without requirements gets the replica's answer, even if it is old."""
    assert await _timeline(reading, ANY) == 1
    assert reading.steps_of("primary") == []


@pytest.mark.parametrize("kind", [TokenFreshness, AppliedFreshness])
async def test_the_primary_answers_what_is_too_new_for_the_replica(
    reading: Reading, kind: type[TokenFreshness | AppliedFreshness]
) -> None:
    """The replica says in the same statement how far it is; it answers once it is there."""
    freshness = kind(reading.primary.moment())
    assert await _timeline(reading, freshness) == 2
    assert reading.steps.taken == ["replica: home timeline", "primary: home timeline"]
    reading.replica.replay(reading.primary)
    reading.steps.taken.clear()
    assert await _timeline(reading, freshness) == 2
    assert reading.steps.taken == ["replica: home timeline"]


@pytest.mark.parametrize("kind", [TokenFreshness, AppliedFreshness])
async def test_an_answer_without_rows_is_an_answer(
    reading: Reading, kind: type[TokenFreshness | AppliedFreshness]
) -> None:
    """A server that is fresh enough and finds nothing is not taken for one that lags."""
    freshness = kind(reading.replica.moment())
    assert not (await reading.store.home_timeline(99, FROM_THE_TOP, 0, 9, freshness)).ids
    assert reading.steps.taken == ["replica: home timeline"]


async def test_a_replica_that_is_left_out_is_not_asked(reading: Reading) -> None:
    """The primary answers everything."""
    reading.databases.is_replica_used = False
    assert await _timeline(reading, ANY) == 2
    assert not await reading.store.user_exists(99, ANY)
    assert reading.steps_of("replica") == []


async def test_a_replica_that_is_down_costs_nothing_but_the_question(reading: Reading) -> None:
    """The primary answers in place of the replica."""
    reading.replica.is_up = False
    assert await _timeline(reading, ANY) == 2
    assert await _timeline(reading, TokenFreshness(reading.primary.moment())) == 2


async def test_a_replica_that_stays_down_is_not_asked_for_each_read(
    reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    """After some failures it is left alone for a while, which is logged once; then it is tried."""
    now = 0.0
    replica = Counted(reading.replica)
    databases = Databases(reading.primary, replica, clock=lambda: now)
    store = PostgresStore(databases)
    reading.replica.is_up = False
    for _ in range(10):
        assert await store.user_exists(2, ANY)
    assert replica.asked == REPLICA_FAILURES_TO_OPEN
    assert caplog.text.count("replica does not answer") == 1
    reading.replica.is_up = True
    now += REPLICA_OPEN_SECONDS
    reading.steps.taken.clear()
    assert await store.user_exists(2, ANY)
    assert reading.steps.taken == ["replica: user exists"]


async def test_what_the_replica_lacks_is_asked_of_the_primary(reading: Reading) -> None:
    """Only the primary can say that a row does not exist; a row found on the replica is enough."""
    new = max(reading.oracle(2))
    old = min(reading.oracle(2))
    user = reading.user()
    assert await reading.store.user_exists(user, ANY)
    assert set(await reading.store.tweets([new, old, 99], ANY)) == {new, old}
    reading.steps.taken.clear()
    await reading.store.tweets([old], ANY)
    assert reading.steps.taken == ["replica: tweets by id"]


async def test_the_primary_is_asked_once_in_place_of_the_replica(reading: Reading) -> None:
    """A row that the primary lacks is not asked of it again when the replica cannot answer."""
    reading.replica.is_up = False
    assert not await reading.store.user_exists(99, ANY)
    assert len(reading.steps_of("primary")) == 1
    assert await reading.store.tweets([99], ANY) == {}
    assert len(reading.steps_of("primary")) == 2


async def test_a_token_newer_than_every_server_is_refused(reading: Reading) -> None:
    """Nothing older than a consistency token is ever shown."""
    moment = reading.primary.moment()
    future = TokenFreshness(Moment(moment.history, Lsn(moment.lsn + 1)))
    with pytest.raises(NotYetConsistentError):
        await _timeline(reading, future)


async def test_a_token_is_refused_while_the_primary_is_down(reading: Reading) -> None:
    """The caller is told to retry, but the replica still answers for tokens it has reached."""
    reading.primary.is_up = False
    with pytest.raises(NotYetConsistentError):
        await _timeline(reading, TokenFreshness(reading.primary.moment()))
    assert await _timeline(reading, TokenFreshness(reading.replica.moment())) == 1


async def test_a_token_of_a_lost_history_is_refused(reading: Reading) -> None:
    """What came after the end of a former history is lost; what came before is there."""
    end = reading.primary.moment()
    reading.primary.begin_history(OTHER_HISTORY)
    assert await _timeline(reading, TokenFreshness(end)) == 2
    lost = TokenFreshness(Moment(end.history, Lsn(end.lsn + 1)))
    with pytest.raises(ConsistencyTokenLostError):
        await _timeline(reading, lost)


async def test_a_restarted_primary_is_not_trusted_before_its_history_begins(
    reading: Reading,
) -> None:
    """It may be a restored copy, so it meets no consistency token and no checkpoint of Redis."""
    moment = reading.primary.moment()
    reading.primary.is_history_valid = False
    with pytest.raises(OtherHistoryError):
        await _timeline(reading, AppliedFreshness(moment))
    with pytest.raises(NotYetConsistentError):
        await _timeline(reading, TokenFreshness(Moment(moment.history, Lsn(moment.lsn + 1))))


async def test_what_is_stored_is_never_old(reading: Reading) -> None:
    """A list is not built from a replica that lags, whatever happens to the primary."""
    freshness = AppliedFreshness(reading.primary.moment())
    reading.primary.is_up = False
    with pytest.raises(DatabaseUnavailableError):
        await reading.store.newest_ids([2], 4, freshness)
    reading.primary.is_up = True
    reading.primary.begin_history(OTHER_HISTORY)
    with pytest.raises(OtherHistoryError):
        await reading.store.newest_ids([2], 4, freshness)


async def test_a_read_fails_when_no_server_answers(reading: Reading) -> None:
    """The error is the one of the database."""
    reading.primary.is_up = reading.replica.is_up = False
    for wanted in (ANY, AppliedFreshness(reading.primary.moment())):
        with pytest.raises(DatabaseUnavailableError):
            await _timeline(reading, wanted)
