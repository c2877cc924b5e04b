"""What the outbox and the request_ids keep, and that the relay deletes the rest of them in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from helpers.support import Fanfare, wait_until

from core.storage.postgres import connection_arguments
from ops.system import System
from write_service.postgres_outbox import KEEP_REQUESTS_SECONDS, KEEP_SENT_SECONDS, Outbox

LIMIT = 100
BATCHES = 5


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose outbox is filled with old events."""
    with Fanfare(start_system()) as clients:
        yield clients


@pytest.fixture
def outbox(own: Fanfare) -> Iterator[Outbox]:
    """Return the outbox of the system while no relay runs."""
    write = own.system.processes["write"]
    write.stop()
    outbox = Outbox(own.settings.primary_dsn())
    yield outbox
    outbox.close()
    write.start()


def _add_events(own: Fanfare, count: int, sent_seconds_ago: float) -> None:
    own.sql(
        "INSERT INTO outbox (key, type, payload, created_at, sent_at)"
        " SELECT n, 'tweet.created', '', now(), now() - (%s + n * 0.001) * interval '1 second'"
        " FROM generate_series(1, %s) AS n",
        sent_seconds_ago,
        count,
    )


def _add_requests(own: Fanfare, user_id: int, count: int, seconds_ago: float | None) -> None:
    own.sql(
        "INSERT INTO tweet_requests"
        " SELECT %s, gen_random_uuid(), '', n, now(), now() - %s * interval '1 second'"
        " FROM generate_series(1, %s) AS n",
        user_id,
        seconds_ago,
        count,
    )


def _expired(own: Fanfare) -> int:
    ((count,),) = own.sql(
        "SELECT count(*) FROM outbox WHERE sent_at < now() - %s * interval '1 second'",
        KEEP_SENT_SECONDS,
    )
    return int(count)


def test_old_rows_go_the_oldest_first_and_others_stay(own: Fanfare, outbox: Outbox) -> None:
    """At most so many at a time, until it says that there are no more."""
    author = own.sql("INSERT INTO users (username) VALUES ('purged') RETURNING id")[0][0]
    _add_events(own, BATCHES * LIMIT, KEEP_SENT_SECONDS)
    _add_events(own, 7, KEEP_SENT_SECONDS - 60)
    _add_requests(own, author, BATCHES * LIMIT, KEEP_REQUESTS_SECONDS)
    _add_requests(own, author, 7, KEEP_REQUESTS_SECONDS - 60)
    _add_requests(own, author, 7, None)
    ((kept,),) = own.sql(
        "SELECT count(*) FROM outbox WHERE coalesce(sent_at, now()) > now() - %s * interval '1 s'",
        KEEP_SENT_SECONDS,
    )
    requests = "SELECT count(*) FROM tweet_requests WHERE user_id = %s"
    for number in range(BATCHES):
        assert outbox.purge(LIMIT)
        assert _expired(own) == (BATCHES - number - 1) * LIMIT
        left = (BATCHES - number - 1) * LIMIT + 14
        assert own.sql(requests, author) == [(left,)]
    assert not outbox.purge(LIMIT)
    assert own.sql("SELECT count(*) FROM outbox") == [(kept,)]


def test_a_row_that_is_being_sent_again_is_left_alone(own: Fanfare, outbox: Outbox) -> None:
    """`fanfare replay` has it; the purge neither waits for it nor forgets it."""
    _add_events(own, 2 * LIMIT, KEEP_SENT_SECONDS)
    arguments = connection_arguments("test") | {"autocommit": False}
    with psycopg.connect(own.settings.primary_dsn(), **arguments) as replay:
        replay.execute("SELECT FROM outbox ORDER BY sent_at LIMIT 1 FOR UPDATE")
        while outbox.purge(LIMIT):
            pass
        assert _expired(own) == 1
    outbox.purge(LIMIT)
    assert _expired(own) == 0


def test_a_relay_catches_up_with_many_old_events(own: Fanfare) -> None:
    """More than one purge takes at a time, and they are gone without a minute between."""
    _add_events(own, 120_000, KEEP_SENT_SECONDS)
    wait_until(lambda: _expired(own) == 0, "the old events are gone", 60)
    bob, alice = own.cached_pair()
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)
