"""The relay purges sent events and request_ids whose retention has expired."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from core.settings import DEFAULT_RETENTION_DAYS
from core.storage.postgres import connection_arguments
from core.storage.retention import DAY_SECONDS
from ops.replay import resend_events
from ops.system import System
from write_service.outbox_partitions import REPLAY_PART
from write_service.postgres_outbox import REQUEST_RETENTION_SECONDS, PostgresOutbox
from write_service.relay import BATCH_EVENTS, NO_EVENTS

SENT_RETENTION_SECONDS = DEFAULT_RETENTION_DAYS * DAY_SECONDS
LIMIT = 100
BATCHES = 5


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a separate system, whose outbox these tests fill with old events."""
    with Fanfare(start_system()) as clients:
        yield clients


@pytest.fixture
def outbox(own: Fanfare) -> Iterator[PostgresOutbox]:
    """Return a session with the outbox, while no relay runs."""
    write = own.system.processes["write"]
    write.stop()
    outbox = PostgresOutbox(own.settings.primary_dsn())
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
        SENT_RETENTION_SECONDS,
    )
    return int(count)


def test_only_expired_rows_are_purged_the_oldest_first(
    own: Fanfare, outbox: PostgresOutbox
) -> None:
    """A purge deletes at most limit rows of each kind, and tells whether more are left."""
    author = own.sql("INSERT INTO users (username) VALUES ('purged') RETURNING id")[0][0]
    _add_events(own, BATCHES * LIMIT, SENT_RETENTION_SECONDS)
    _add_events(own, 7, SENT_RETENTION_SECONDS - 60)
    _add_requests(own, author, BATCHES * LIMIT, REQUEST_RETENTION_SECONDS)
    _add_requests(own, author, 7, REQUEST_RETENTION_SECONDS - 60)
    _add_requests(own, author, 7, None)
    ((kept,),) = own.sql(
        "SELECT count(*) FROM outbox WHERE coalesce(sent_at, now()) > now() - %s * interval '1 s'",
        SENT_RETENTION_SECONDS,
    )
    requests = "SELECT count(*) FROM tweet_requests WHERE user_id = %s"
    for number in range(BATCHES):
        assert outbox.purge(LIMIT)
        assert _expired(own) == (BATCHES - number - 1) * LIMIT
        left = (BATCHES - number - 1) * LIMIT + 14
        assert own.sql(requests, author) == [(left,)]
    assert not outbox.purge(LIMIT)
    assert own.sql("SELECT count(*) FROM outbox") == [(kept,)]


def test_a_row_that_is_being_replayed_is_skipped(own: Fanfare, outbox: PostgresOutbox) -> None:
    """The purge does not wait for a row that `fanfare replay` has locked, and deletes it later."""
    _add_events(own, 2 * LIMIT, SENT_RETENTION_SECONDS)
    arguments = connection_arguments(own.settings.primary_dsn(), "test") | {"autocommit": False}
    with psycopg.connect(own.settings.primary_dsn(), **arguments) as replay:
        replay.execute("SELECT FROM outbox ORDER BY sent_at LIMIT 1 FOR UPDATE")
        while outbox.purge(LIMIT):
            pass
        assert _expired(own) == 1
    outbox.purge(LIMIT)
    assert _expired(own) == 0


def test_a_replay_does_not_prolong_the_retention(own: Fanfare, outbox: PostgresOutbox) -> None:
    """An event that was replayed is purged when it would have been purged without the replay."""
    _add_events(own, 1, SENT_RETENTION_SECONDS * REPLAY_PART - 3600)
    ((event, sent_at),) = own.sql("SELECT id, sent_at FROM outbox ORDER BY id DESC LIMIT 1")
    times = "SELECT sent_at FROM outbox WHERE id = %s"
    for _ in range(2):
        assert resend_events(own.settings, SENT_RETENTION_SECONDS / 3600) > 0
        assert own.sql(times, event) == [(None,)]
        epoch = outbox.begin_epoch()
        unsent = outbox.mark_and_fetch(NO_EVENTS, BATCH_EVENTS, epoch)
        outbox.mark_and_fetch(unsent, 0, epoch)
        assert own.sql(times, event) == [(sent_at,)]


@pytest.mark.usefixtures("outbox")
def test_a_replay_leaves_out_old_events(own: Fanfare) -> None:
    """An event from before the time in which nothing is removed is not sent again."""
    _add_events(own, 1, SENT_RETENTION_SECONDS * REPLAY_PART + 60)
    ((event,),) = own.sql("SELECT id FROM outbox ORDER BY id DESC LIMIT 1")
    resend_events(own.settings, SENT_RETENTION_SECONDS / 3600)
    assert own.sql("SELECT sent_at IS NULL FROM outbox WHERE id = %s", event) == [(False,)]


def test_a_relay_purges_many_old_events(own: Fanfare) -> None:
    """The relay purges without pauses until all expired events are gone."""
    _add_events(own, 120_000, SENT_RETENTION_SECONDS)
    wait_until(lambda: _expired(own) == 0, "the old events are gone", 60)
    bob, alice = own.cached_pair()
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)
