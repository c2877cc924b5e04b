"""Two workers that apply the same batch chunk by chunk, each paused between any two chunks.

What one of them has written may expire meanwhile, so that nothing shows the other that its own
chunk is older.
"""

from __future__ import annotations

import threading

import pytest
from fanfare.events.v1 import events_pb2 as pb
from helpers.fakes.worker import FakeServers, FakeWorker
from helpers.fakes.worker_events import created, stamped, unfollowed, updated
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.feed import tweet_cache
from core.feed.timeline_lists import home_list
from fanout_worker import chunks

# All ids are of the same shard, so that every chunk but the first is in this shard.
AUTHOR, READER, OTHER_READER = 4, 20, 36
TWEET, LATER_TWEET = 100, 116


class InTurns:
    """A worker in a thread of its own, which applies a chunk of its batch in each turn."""

    def __init__(self, worker: FakeWorker) -> None:
        self._worker = worker
        self._begin, self._end = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._settle = worker.shards.settle
        worker.shards.settle = self._settle_and_pause  # type: ignore[method-assign]
        self.failure: BaseException | None = None
        self.is_done = False
        self._thread.start()

    def turn(self) -> None:
        """Let the worker go on until it has applied a chunk, or has found that it may not."""
        if not self.is_done:
            self._begin.release()
            self._end.acquire()

    def finish(self) -> None:
        """Let the worker apply everything that is in Kafka."""
        while not self.is_done:
            self.turn()
        self._thread.join()
        assert self.failure is None

    def _run(self) -> None:
        self._begin.acquire()
        try:
            self._worker.drain()
        except BaseException as error:  # noqa: BLE001 - finish() reports it in the test's thread
            self.failure = error
        self.is_done = True
        self._end.release()

    def _settle_and_pause(self) -> None:
        calls = len(self._worker.shards.calls)
        try:
            self._settle()
        finally:
            if len(self._worker.shards.calls) > calls:
                self._end.release()
                self._begin.acquire()


def _two_workers(servers: FakeServers) -> tuple[FakeWorker, FakeWorker]:
    """Return two workers, both of which believe that partition 0 is theirs."""
    servers.store.followers_of = {AUTHOR: [READER, OTHER_READER]}
    workers = FakeWorker(servers), FakeWorker(servers)
    for worker in workers:
        worker.assign(0)
    return workers


def _delete() -> pb.FeedEvent:
    change = pb.TweetDeleted(tweet_id=TWEET, user_id=AUTHOR)
    return stamped(pb.FeedEvent(tweet_deleted=change), 20_000)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every command a chunk of its own."""
    monkeypatch.setattr(chunks, "MAX_COMMANDS", 1)
    monkeypatch.setattr(chunks, "PIECE_COMMANDS", 1)


@settings(max_examples=40)
@given(is_deleted=st.booleans(), schedule=st.text("ABx", max_size=20))
@example(is_deleted=False, schedule="BAAAAxBA")
@example(is_deleted=True, schedule="BAAAAxBA")
def test_an_older_text_never_outlives_a_newer_one(*, is_deleted: bool, schedule: str) -> None:
    """Whichever worker applies a chunk (A, B), and whenever the tweet expires (x)."""
    servers = FakeServers()
    a, b = _two_workers(servers)
    servers.kafka.send(0, updated(TWEET, AUTHOR, 2, "older"))
    servers.kafka.send(0, updated(TWEET, AUTHOR, 3, "older"))
    servers.kafka.send(0, _delete() if is_deleted else updated(TWEET, AUTHOR, 4, "newest"))
    servers.kafka.send(0, created(LATER_TWEET, AUTHOR))
    key = a.shards.keys.tweet(TWEET).encode()
    workers = {"A": InTurns(a), "B": InTurns(b)}
    for step in schedule:
        if step == "x":
            servers.redis.unlink(key)
        else:
            workers[step].turn()
    for worker in workers.values():
        worker.finish()
    entry = servers.redis.strings.get(key)
    if entry is not None and is_deleted:
        assert entry == tweet_cache.DELETED
    elif entry is not None:
        assert entry.startswith(b"4:")


def test_a_rebuilt_list_gets_no_tweets_of_an_author_who_was_unfollowed(
    servers: FakeServers,
) -> None:
    """The unfollow is in the batch of one worker, and not in the shorter one of the other."""
    longer, shorter = _two_workers(servers)
    servers.kafka.send(0, created(TWEET, AUTHOR))
    shorter.drain()  # and knows the followers now
    longer.drain()
    servers.store.followers_of = {AUTHOR: [OTHER_READER]}
    longer.cache(home_list(READER), TWEET)
    servers.kafka.send(0, created(LATER_TWEET, AUTHOR))
    stale = InTurns(shorter)
    stale.turn()  # caches the tweet
    servers.kafka.send(0, unfollowed(READER, AUTHOR))
    owner = InTurns(longer)
    while longer.cached(home_list(READER)) is not None:
        owner.turn()
    longer.cache(home_list(READER))  # as a reader builds it now
    stale.turn()
    stale.turn()
    owner.finish()
    stale.finish()
    assert not longer.cached(home_list(READER))
