"""Every process and server is killed under load: no acknowledged write is lost or incomplete."""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO, Self

import grpc
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.events.v1.events_pb2 import FeedEvent
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from embedded.server import ServerProcess
from ops.system import System

CLIENTS = 3
READERS = 3
BATCH = 20
MAX_BATCH = 1000
# Writes that must be acknowledged before the kill, and again after the restart.
ENOUGH = 150
CALL_SECONDS = 10.0
# Commands need these parts, and no others.
NEEDED = ("write", "postgres")


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system of its own, whose parts are killed."""
    with Fanfare(start_system(replica=True)) as clients:
        yield clients


class Load:
    """Clients that create tweets one by one, in batches and over REST, and that follow the author.

    An acknowledged write is logged to disk before the next call, as by a client that relies on it.
    A failed call is not repeated; the test finds out whether it took effect.
    """

    def __init__(self, clients: Fanfare, author: User, followers: list[int], log: Path) -> None:
        self._clients = clients
        self._author = author
        self._followers = followers
        self._log: IO[str] = log.open("w")
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        targets = [self._by_grpc] * CLIENTS + [self._in_batches, self._by_rest, self._follow]
        self._threads = [threading.Thread(target=target) for target in targets]
        self.sent: list[str] = []
        self.batches: list[list[str]] = []
        self.acknowledged = 0

    def __enter__(self) -> Self:
        """Start the clients."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the calls in progress, and stop."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._log.close()

    def _by_grpc(self) -> None:
        with grpc.insecure_channel(self._clients.settings.write_service_target()) as channel:
            stub = WriteServiceStub(channel)
            while not self._stopping.is_set():
                request = w.CreateTweetRequest(
                    user_id=self._author.id, content="x", request_id=self._request_id()
                )
                try:
                    answer = stub.CreateTweet(request, timeout=CALL_SECONDS)
                except grpc.RpcError:
                    self._stopping.wait(0.02)
                else:
                    self._acknowledge("tweet", request.request_id, answer.tweet.id)

    def _in_batches(self) -> None:
        with grpc.insecure_channel(self._clients.settings.write_service_target()) as channel:
            stub = WriteServiceStub(channel)
            while not self._stopping.wait(0.02):
                ids = [self._request_id() for _ in range(BATCH)]
                self.batches.append(ids)
                try:
                    batch = _batch(self._author, ids)
                    answer = stub.BatchCreateTweets(batch, timeout=CALL_SECONDS)
                except grpc.RpcError:
                    self._stopping.wait(0.1)
                    continue
                for id_, result in zip(ids, answer.results, strict=True):
                    if result.HasField("tweet"):
                        self._acknowledge("tweet", id_, result.tweet.id)

    def _by_rest(self) -> None:
        while not self._stopping.is_set():
            request_id = self._request_id()
            tweet = {"user_id": self._author.id, "content": "x", "request_id": request_id}
            try:
                status, answer, _ = self._clients.rest("POST", "/tweets", tweet)
            except (OSError, HTTPException):
                status, answer = 0, None
            if status == 201:
                self._acknowledge("tweet", request_id, int(answer["tweet"]["id"]))
            else:
                self._stopping.wait(0.02)

    def _follow(self) -> None:
        with grpc.insecure_channel(self._clients.settings.write_service_target()) as channel:
            stub = WriteServiceStub(channel)
            for follower in self._followers:
                edge = w.FollowUserRequest(follower_id=follower, followed_id=self._author.id)
                try:
                    stub.FollowUser(edge, timeout=CALL_SECONDS)
                except grpc.RpcError:
                    pass
                else:
                    self._acknowledge("follow", str(follower), self._author.id)
                if self._stopping.wait(0.02):
                    return

    def _request_id(self) -> str:
        request_id = str(uuid.uuid4())
        with self._lock:
            self.sent.append(request_id)
        return request_id

    def _acknowledge(self, kind: str, first: str, second: int) -> None:
        with self._lock:
            self._log.write(f"{kind} {first} {second}\n")
            self._log.flush()
            os.fsync(self._log.fileno())
            self.acknowledged += 1


def _batch(author: User, request_ids: Sequence[str]) -> w.BatchCreateTweetsRequest:
    return w.BatchCreateTweetsRequest(
        requests=[
            w.CreateTweetRequest(user_id=author.id, content="x", request_id=request_id)
            for request_id in request_ids
        ]
    )


def _victim(clients: Fanfare, name: str) -> ServerProcess:
    processes = clients.system.processes
    return processes[name] if name in processes else getattr(clients.system.stack, name)


def _acknowledged(log: Path, kind: str) -> dict[str, int]:
    lines = (line.split() for line in log.read_text().splitlines())
    return {first: int(second) for said, first, second in lines if said == kind}


def _events(clients: Fanfare, author: User) -> Counter[tuple[str, int]]:
    """Count the author's events by kind and by the tweet or follower that they are about."""
    found: Counter[tuple[str, int]] = Counter()
    for (payload,) in clients.sql("SELECT payload FROM outbox WHERE key = %s", author.id):
        event = FeedEvent.FromString(payload)
        kind = event.WhichOneof("event") or ""
        about = event.tweet_created.tweet.id or event.user_followed.follower_id
        found[kind, about] += 1
    return found


def _assert_whole(clients: Fanfare, author: User) -> None:
    """Assert that request_ids and tweets, and events and changes, correspond one to one."""
    by = author.id
    tweets = {row[0] for row in clients.sql("SELECT id FROM tweets WHERE user_id = %s", by)}
    requests = clients.sql("SELECT tweet_id FROM tweet_requests WHERE user_id = %s", by)
    edges = clients.sql("SELECT follower_id FROM follows WHERE followed_id = %s", by)
    assert sorted(row[0] for row in requests) == sorted(tweets)
    expected = {("tweet_created", tweet): 1 for tweet in tweets}
    assert _events(clients, author) == expected | {("user_followed", row[0]): 1 for row in edges}


@pytest.mark.parametrize(
    "name", ["write", "read", "worker", "postgres", "replica", "valkey", "kafka"]
)
def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(
    own: Fanfare, tmp_path: Path, name: str
) -> None:
    """After SIGKILL under load and a restart, Postgres and timelines have every acknowledged write.

    A batch is there as a whole or not at all.
    """
    author, log = own.user(), tmp_path / "acknowledged"
    readers = [own.user(author) for _ in range(READERS)]
    names = [f"c_{uuid.uuid4().hex[:20]}" for _ in range(1000)]
    insert = "INSERT INTO users (username) SELECT unnest(%s::text[]) RETURNING id"
    followers = [row[0] for row in own.sql(insert, names)]
    with Load(own, author, followers, log) as load:
        wait_until(lambda: load.acknowledged > ENOUGH, "the load runs")
        for reader in readers:
            own.timeline(reader)  # their lists are built, and take pushes
        victim = _victim(own, name)
        victim.kill()
        sent, before = len(load.sent), load.acknowledged
        if name in NEEDED:
            wait_until(lambda: len(load.sent) > sent + BATCH, "the clients call the killed service")
        else:
            wait_until(lambda: load.acknowledged > before + ENOUGH, "writes go on without it")
        victim.start()
        before = load.acknowledged
        wait_until(lambda: load.acknowledged > before + ENOUGH, "the load goes on", 60)
    own.wait_drained()
    _assert_whole(own, author)
    kept: dict[str, int] = {
        str(request_id): tweet
        for request_id, tweet in own.sql(
            "SELECT request_id, tweet_id FROM tweet_requests WHERE user_id = %s", author.id
        )
    }
    tweets = _acknowledged(log, "tweet")
    assert tweets.items() <= kept.items()
    assert kept.keys() <= set(load.sent)
    for batch in load.batches:
        assert len(kept.keys() & set(batch)) in {0, BATCH}, "a batch is half there"
    follows = _acknowledged(log, "follow")
    edges = own.sql("SELECT follower_id FROM follows WHERE followed_id = %s", author.id)
    assert {int(follower) for follower in follows} <= {row[0] for row in edges}
    for reader in [*readers, *(User(id=int(follower)) for follower in list(follows)[-READERS:])]:
        shown = own.whole_timeline(reader)
        assert shown == own.oracle(reader)
        assert set(shown) >= set(tweets.values())
    # A client that got no answer retries. Its two calls together have created one tweet.
    unanswered = [request_id for request_id in load.sent if request_id not in tweets]
    for start in range(0, len(unanswered), MAX_BATCH):
        ids = unanswered[start : start + MAX_BATCH]
        answer = own.write.BatchCreateTweets(_batch(author, ids), wait_for_ready=True)
        for request_id, result in zip(ids, answer.results, strict=True):
            assert kept.setdefault(request_id, result.tweet.id) == result.tweet.id
    _assert_whole(own, author)
    own.wait_drained()
    for reader in readers:
        assert own.whole_timeline(reader) == sorted(kept.values(), reverse=True)
