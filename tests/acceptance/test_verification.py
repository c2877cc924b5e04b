"""The continuous verification: it calls no list wrong under traffic, and finds a wrong one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fanfare.common.v1.common_pb2 import Tweet, User
from helpers import traffic as traffic_module
from helpers.fanfare import Fanfare
from helpers.prometheus import scrape, value
from helpers.traffic import Traffic
from helpers.waiting import wait_until

from core.feed.timeline_lists import home_list
from core.feed.tweet_cache import encode_entry
from core.runtime.metrics_ports import metrics_addresses
from ops.system import System

# A list every tenth of a second, on average.
PER_MINUTE = "600"
WRONG = "wrong timeline in Redis"


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system that verifies as often as it can."""
    with Fanfare(start_system(FANFARE_VERIFY_PER_MINUTE=PER_MINUTE)) as clients:
        yield clients


def _counted(own: Fanfare, result: str) -> float:
    (address,) = metrics_addresses(own.settings)["worker"]
    return value(scrape(address), "fanfare_timeline_verifications_total", result=result)


def _log(own: Fanfare) -> str:
    return own.system.processes["worker"].log_path.read_text(errors="replace")


def test_traffic_is_no_reason_for_an_alarm(own: Fanfare, monkeypatch: pytest.MonkeyPatch) -> None:
    """While tweets, edits, deletions and follows go on, lists are found exact, and none wrong."""
    monkeypatch.setattr(traffic_module, "COMMAND_PAUSE_SECONDS", 0.02)
    traffic = Traffic(own, seed=1)
    traffic.begin(users=30, tweets=30)
    own.wait_drained()
    exact = _counted(own, "exact")
    with traffic.running():
        traffic.wait_for_more(100)
        wait_until(lambda: _counted(own, "exact") >= exact + 40, "40 lists are exact", 120)
    assert _counted(own, "wrong") == 0
    assert WRONG not in _log(own)
    assert not traffic.surprises


def _without_newest(own: Fanfare, _author: User, reader: User, newest: Tweet) -> None:
    assert own.redis.lrem(own.keys.for_list(home_list(reader.id)), 1, str(newest.id)) == 1


def _with_a_strangers(own: Fanfare, _author: User, reader: User, _newest: Tweet) -> None:
    stranger = own.user()
    own.redis.lpush(own.keys.for_list(home_list(reader.id)), own.tweet(stranger).id)


def _with_an_old_text(own: Fanfare, _author: User, _reader: User, newest: Tweet) -> None:
    changed = Tweet()
    changed.CopyFrom(newest)
    changed.content = "of no concern to readers"
    own.redis.set(own.keys.tweet(newest.id), encode_entry(1, changed.SerializeToString()))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without_newest, "1 tweets are missing, such as {id}"),
        (_with_a_strangers, "1 tweets should not be there, such as"),
        (_with_an_old_text, "tweet {id} has another author or content"),
    ],
)
def test_a_wrong_list_is_found(
    own: Fanfare, damage: Callable[[Fanfare, User, User, Tweet], None], said: str
) -> None:
    """It is counted, and the log names the user and the tweet, but no text."""
    author = own.user()
    reader = own.user(author)
    own.tweets(author, 3)
    newest = own.tweet(author, "of no concern to operators")
    own.wait_drained()
    own.wait_cached(reader)
    _remove_other_lists(own, reader)
    wrong = _counted(own, "wrong")
    with _damaged(own, reader):
        damage(own, author, reader, newest)
        wait_until(lambda: _counted(own, "wrong") > wrong, "the wrong list is found")
    (line, *_) = [line for line in _log(own).splitlines() if f"user_id={reader.id} " in line]
    assert " ERROR " in line
    assert f"{WRONG}; " in line
    assert said.format(id=newest.id) in line
    assert "of no concern" not in line


def _remove_other_lists(own: Fanfare, reader: User) -> None:
    """Leave nothing else to verify, so that chance does not decide how long it takes."""
    kept = own.keys.for_list(home_list(reader.id)).encode()
    for pattern in (own.keys.home_lists_pattern, own.keys.author_lists_pattern):
        for key in own.redis.scan_iter(pattern):
            if key != kept:
                own.redis.delete(key)


@contextmanager
def _damaged(own: Fanfare, reader: User) -> Iterator[None]:
    """Remove what was damaged at the end."""
    try:
        yield
    finally:
        own.redis.delete(own.keys.for_list(home_list(reader.id)))
