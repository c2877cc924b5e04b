"""Watches beside faults of everything below and above them: no change is lost, none stays away.

Once events have drained, each client holds exactly the newest tweets of the SQL oracle. And with
no heartbeat does it hold a tweet whose deletion had been applied more than a second before.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Self

import grpc
import pytest
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.waiting import WAIT_SECONDS, wait_until
from helpers.watch_client import HeldByClient, WatchClient

from core.runtime.metrics import Metric
from ops.system import System

AUTHORS, READERS = 4, 4
LIMITS = (20, 5, 100)
# An author with more followers is a pull author.
PULL_FOLLOWERS = 3
# How many commands are acknowledged between two faults.
BETWEEN_FAULTS = 15
PAUSE_SECONDS = 0.01
# What a heartbeat promises, and how late it may reach the test on a busy machine.
PROMISED_SECONDS, LATE_SECONDS = 1.0, 2.0
# A second has this many heartbeats at most, and a half.
HEARTBEATS = 5
# gRPC would wait a second before it connects to a restarted service again.
CHANNEL = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
ORACLE = """
SELECT tweets.id, content FROM follows JOIN tweets ON user_id = followed_id
WHERE follower_id = %s ORDER BY tweets.id DESC LIMIT %s
"""


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose parts fail."""
    system = start_system(
        FANFARE_PULL_FOLLOWERS=str(PULL_FOLLOWERS), FANFARE_WATCH_HEARTBEAT_SECONDS="1"
    )
    with Fanfare(system) as clients:
        yield clients


class Traffic:
    """Random commands from one thread, and the times at which deletions were applied."""

    def __init__(self, clients: Fanfare) -> None:
        self._clients = clients
        self._chance = random.Random(22)
        self._authors = [clients.user() for _ in range(AUTHORS)]
        self.readers = [clients.user(*self._authors) for _ in range(READERS)]
        self._tweets: list[int] = []
        self._stopping = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._idle = threading.Event()
        self._lock = threading.Lock()
        self._deleted: dict[int, float] = {}
        """When the deletion of a tweet was acknowledged, until it was applied."""
        self._applied: dict[int, float] = {}
        """When the deletion of a tweet had been applied, at the latest."""
        self.shown_too_long: list[str] = []
        self.acknowledged = 0
        self._threads = [threading.Thread(target=run) for run in (self._write, self._sample)]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._running.set()
        for thread in self._threads:
            thread.join()

    def hold(self) -> None:
        """Send no more commands, and wait for the answer to the last one."""
        self._idle.clear()
        self._running.clear()
        assert self._idle.wait(WAIT_SECONDS)

    def go_on(self) -> None:
        """Send commands again."""
        self._running.set()

    def has_reached(self, goal: int) -> bool:
        """Return whether as many commands were acknowledged."""
        return self.acknowledged >= goal

    def check(self, ids: Iterable[int]) -> None:
        """Note which of the tweets that a client holds with a heartbeat were deleted before."""
        now = time.monotonic()
        with self._lock:
            for id_ in ids:
                ago = now - self._applied.get(id_, now)
                if ago > PROMISED_SECONDS + LATE_SECONDS:
                    self.shown_too_long.append(f"tweet {id_}, deleted {ago:.1f} s ago")

    def _write(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            if not self._running.is_set():
                self._idle.set()
                self._running.wait()
            try:
                self._command()
            except grpc.RpcError:
                continue
            self.acknowledged += 1

    def _command(self) -> None:
        chance, write = self._chance, self._clients.write
        author, reader = chance.choice(self._authors), chance.choice(self.readers)
        tweet = chance.choice(self._tweets[-30:]) if self._tweets else None
        kind = chance.choices(
            ("tweet", "batch", "edit", "delete", "follow", "unfollow"), (30, 2, 12, 12, 3, 3)
        )[0]
        match kind:
            case "tweet":
                self._tweets.append(self._clients.tweet(author, f"tweet {self.acknowledged}").id)
            case "batch":
                self._tweets += [tweet.id for tweet in self._clients.tweets(author, 30)]
            case "edit" if tweet is not None:
                content = f"edit {self.acknowledged}"
                write.UpdateTweet(w.UpdateTweetRequest(tweet_id=tweet, content=content))
            case "delete" if tweet is not None:
                self._tweets.remove(tweet)
                write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet))
                with self._lock:
                    self._deleted[tweet] = time.monotonic()
            case "follow":
                self._clients.follow(reader, author)
            case "unfollow":
                self._clients.unfollow(reader, author)

    def _sample(self) -> None:
        """Find out when deletions have been applied."""
        while not self._stopping.wait(PAUSE_SECONDS):
            with self._lock:
                deleted = list(self._deleted)
            if deleted and self._clients.is_drained():
                now = time.monotonic()
                with self._lock:
                    for id_ in deleted:
                        del self._deleted[id_]
                        self._applied[id_] = now


class Faults:
    """What happens to the servers and the clients."""

    def __init__(self, clients: Fanfare, watchers: list[WatchClient]) -> None:
        self._clients = clients
        self._watchers = watchers
        self._former: list[HeldByClient] = [watcher.held() for watcher in watchers]

    def kill(self, name: str) -> None:
        """Kill a process or a server, and start it again."""
        processes, stack = self._clients.system.processes, self._clients.system.stack
        server = processes[name] if name in processes else getattr(stack, name)
        server.kill()
        server.start()

    def drop_lists(self) -> None:
        """Remove all home timelines from Redis."""
        redis = self._clients.redis
        for key in redis.scan_iter(match=self._clients.keys.home_lists_pattern):
            redis.delete(key)

    def flush(self) -> None:
        """Empty Redis."""
        self._clients.redis.flushall()

    def cut(self) -> None:
        """Cut the connections of all clients."""
        for watcher in self._watchers:
            watcher.cut()

    def go_back(self) -> None:
        """Have all clients come back with what they held the last time, and an old token."""
        for place, watcher in enumerate(self._watchers):
            held = watcher.held()
            watcher.go_back(self._former[place])
            self._former[place] = held

    def pause(self) -> None:
        """Have half of the clients read nothing until the next call."""
        for watcher in self._watchers[::2]:
            watcher.pause()

    def go_on(self) -> None:
        """Have all clients read again."""
        for watcher in self._watchers:
            watcher.go_on()


# Clients that come back get the right page in any case, so the last faults leave streams open.
FAULTS = (
    "cut",
    "pause",
    "kill read",
    "drop_lists",
    "go_on",
    "go_back",
    "flush",
    "kill worker",
    "kill valkey",
    "kill kafka",
)


def _check(
    own: Fanfare, watchers: Sequence[WatchClient], watched: Sequence[tuple[int, int]]
) -> None:
    """Compare what clients hold with the oracle, once all is drained."""
    own.wait_drained()
    # The first heartbeats may be about the time before.
    goals = [watcher.events["heartbeat"] + HEARTBEATS for watcher in watchers]
    for watcher, (user_id, limit), goal in zip(watchers, watched, goals, strict=True):
        wait_until(partial(_has_heartbeats, watcher, goal), "heartbeats come")
        assert watcher.shown() == own.sql(ORACLE, user_id, limit)


def _has_heartbeats(watcher: WatchClient, count: int) -> bool:
    return watcher.events["heartbeat"] >= count


def test_watches_lose_nothing(own: Fanfare) -> None:
    """All clients end with what the oracle says, and none has shown a deleted tweet for long."""
    traffic = Traffic(own)
    target = own.settings.read_service_target()
    watchers: list[WatchClient] = []
    with grpc.insecure_channel(target, options=CHANNEL) as channel:
        try:
            watched = [(reader.id, limit) for reader in traffic.readers for limit in LIMITS]
            for user_id, limit in watched:
                watchers.append(WatchClient(channel, user_id, limit, traffic.check))
            faults = Faults(own, watchers)
            with traffic:
                for fault in FAULTS:
                    goal = traffic.acknowledged + BETWEEN_FAULTS
                    wait_until(partial(traffic.has_reached, goal), "commands go on")
                    name, _, part = fault.partition(" ")
                    getattr(faults, name)(*([part] if part else []))
                # Nothing is about to be read when Redis is lost.
                traffic.hold()
                _check(own, watchers, watched)
                faults.kill("valkey")
                traffic.go_on()
                goal = traffic.acknowledged + BETWEEN_FAULTS
                wait_until(partial(traffic.has_reached, goal), "commands go on")
            _check(own, watchers, watched)
        finally:
            for watcher in watchers:
                watcher.close()
    assert traffic.shown_too_long == []
    assert own.metrics()[Metric.PULLED_MERGED]
    assert all(watcher.ends.total() >= 3 for watcher in watchers)
