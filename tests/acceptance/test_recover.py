"""Histories on real servers: `fanfare recover`, restarts, and keys of earlier histories."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import Failure, failure, ids
from helpers.waiting import wait_until

from core.feed.consistency_tokens import decode_token, encode_token
from core.feed.history import Lsn, Moment
from core.feed.keys import Keys
from core.feed.timeline_lists import home_list
from core.runtime.metrics import Metric
from ops.system import System


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose database these tests change directly."""
    with Fanfare(start_system()) as clients:
        yield clients


def _history(own: Fanfare) -> str:
    ((history,),) = own.sql("SELECT history FROM relay_state")
    return str(history)


def _restart_postgres(own: Fanfare, *, killed: bool) -> None:
    postgres = own.system.stack.postgres
    if killed:
        postgres.kill()
    postgres.start()


def test_rows_put_back_into_a_running_server_show_after_recover(own: Fanfare) -> None:
    """Recover repairs damage that leaves no trace; its dry run changes nothing."""
    bob, alice = own.cached_pair(5)
    newest, second, *_ = own.oracle(alice)
    own.sql("UPDATE tweets SET content = 'before the edit' WHERE id = %s", second)
    own.sql("DELETE FROM tweets WHERE id = %s", newest)
    stale = own.timeline(alice).tweets
    assert (stale[0].id, stale[1].content) == (newest, "tweet 3"), "the test changes nothing"
    before = _history(own)
    dry = own.command("recover", "--dry-run")
    assert (dry.returncode, _history(own)) == (0, before)
    assert f"history {before} (valid)" in dry.stdout
    assert f"keys of the current history, {before}" in dry.stdout
    own.redis.set("another:key", "stays")
    done = own.command("recover")
    assert done.returncode == 0, done.stderr
    assert _history(own) != before
    wait_until(lambda: own.timeline(alice).tweets[0].id == second, "the lost tweet is gone")
    own.wait_drained()
    own.wait_exact(alice)
    assert own.timeline(alice).tweets[0].content == "before the edit"
    assert failure(lambda: own.read.GetTweet(r.GetTweetRequest(tweet_id=newest))) == Failure(
        grpc.StatusCode.NOT_FOUND, "TWEET_NOT_FOUND"
    )
    # Only the keys of the earlier history were removed.
    left = {key.split(b":")[1].decode() for key in own.redis.scan_iter("fanfare:*")}
    assert left - {"aof-rewritten"} == {_history(own)}
    assert own.redis.get("another:key") == b"stays"
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)


def test_recover_needs_no_redis(own: Fanfare) -> None:
    """A new history begins even if Redis is down; a message says that old keys may remain."""
    bob, alice = own.cached_pair(2)
    before = _history(own)
    own.system.stack.valkey.kill()
    try:
        done = own.command("recover")
    finally:
        own.system.stack.valkey.start()
    assert done.returncode == 0, done.stderr
    assert "run this command again" in done.stderr
    assert _history(own) != before
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)


def test_recover_twice_under_commands_loses_nothing(own: Fanfare) -> None:
    """Under traffic, recover loses and repeats no acknowledged tweet."""
    bob, alice = own.cached_pair(1)
    written = own.oracle(alice)
    for _ in range(2):
        for _ in range(20):
            written.append(own.tweet(bob).id)
        assert own.command("recover").returncode == 0
        for _ in range(20):
            written.append(own.tweet(bob).id)
    own.wait_drained()
    own.wait_exact(alice)
    assert own.whole_timeline(alice) == sorted(written, reverse=True)
    assert len({row[0] for row in own.sql("SELECT id FROM outbox")}) == len(
        own.sql("SELECT id FROM outbox")
    )


@pytest.mark.parametrize("killed", [False, True])
def test_a_restart_begins_a_new_history(own: Fanfare, *, killed: bool) -> None:
    """After a restart without loss, timelines and earlier consistency tokens are still valid."""
    counted = own.metrics()
    bob, alice = own.cached_pair(3)
    request = w.CreateTweetRequest(user_id=bob.id, content="before")
    token = own.write.CreateTweet(request).consistency_token
    moment = decode_token(token)
    assert moment is not None
    # Once a later heartbeat is on disk, the token is known to belong to the earlier history.
    noted = "SELECT pg_current_wal_insert_lsn() FROM relay_state WHERE lsn >= %s"
    wait_until(lambda: own.sql(noted, moment.lsn), "a heartbeat is later than the token")
    ((heartbeat,),) = own.sql(noted, moment.lsn)
    flushed = "SELECT 1 WHERE pg_current_wal_flush_lsn() >= %s"
    wait_until(lambda: own.sql(flushed, heartbeat), "the heartbeat is on the disk")
    before = _history(own)
    _restart_postgres(own, killed=killed)
    wait_until(lambda: _history(own) != before, "a new history has begun")
    after = own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)
    page = own.timeline(alice, consistency_token=token).tweets
    assert [page[0].id, page[1].content] == [after.id, "before"]
    for path in (Metric.HISTORY_BEGUN, Metric.HISTORY_MOVED, Metric.NAMESPACE_REMOVED):
        own.wait_counted(path, counted)


def test_tokens_of_commits_that_may_be_lost_are_refused(own: Fanfare) -> None:
    """A token that no history vouches for is CONSISTENCY_TOKEN_LOST, even if its LSN is reached."""
    bob, alice = own.cached_pair(1)
    current = decode_token(own.write.FollowUser(_follow(bob.id, alice.id)).consistency_token)
    assert current is not None
    assert own.command("recover").returncode == 0
    lost = Moment(current.history, Lsn(current.lsn + 10**6))
    own.tweets(bob, 1000)
    for moment in (lost, Moment("0123456789", Lsn(1))):
        token = encode_token(moment)
        assert failure(lambda t=token: own.timeline(alice, consistency_token=t)) == Failure(  # type: ignore[misc]  # mypy cannot infer it
            grpc.StatusCode.FAILED_PRECONDITION, "CONSISTENCY_TOKEN_LOST"
        )


def _follow(follower: int, followed: int) -> w.FollowUserRequest:
    return w.FollowUserRequest(follower_id=follower, followed_id=followed)


def test_nothing_of_another_history_is_read(own: Fanfare) -> None:
    """Keys of another history, such as those of another database, are neither read nor changed."""
    _, alice = own.cached_pair(2)
    expected = own.oracle(alice)
    foreign = Keys.of("fanfare:", "fedcba9876")
    own.redis.rpush(foreign.for_list(home_list(alice.id)), "=", "99", "0")
    own.redis.delete(own.keys.for_list(home_list(alice.id)))
    assert ids(own.timeline(alice).tweets) == expected
    assert own.redis.lrange(foreign.for_list(home_list(alice.id)), 0, -1) == [b"=", b"99", b"0"]
    own.redis.delete(foreign.for_list(home_list(alice.id)))


def test_a_history_begins_without_any_write(own: Fanfare) -> None:
    """Even an idle relay notices that the history is no longer valid."""
    _, alice = own.cached_pair(2)
    before = _history(own)
    own.sql("UPDATE relay_state SET server = 'another'")
    wait_until(lambda: _history(own) != before, "a new history has begun")
    own.wait_drained()
    own.wait_exact(alice)


def test_a_database_put_back_while_it_runs_is_noticed_by_the_relay(own: Fanfare) -> None:
    """A relay whose epoch is above the database's begins a new history."""
    bob, alice = own.cached_pair(3)
    before = _history(own)
    newest = own.oracle(alice)[0]
    own.sql("DELETE FROM tweets WHERE id = %s", newest)
    own.sql("UPDATE relay_state SET epoch = epoch - 1")
    wait_until(lambda: _history(own) != before, "a new history has begun")
    own.tweet(bob)
    own.wait_drained()
    own.wait_exact(alice)
