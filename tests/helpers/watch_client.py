"""A client of WatchHomeTimeline, which does what docs/contract.md says."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import grpc
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as pb
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub


class HeldByClient:
    """What a client holds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tweets: dict[int, Tweet] = {}
        self.token = ""

    def apply(self, event: pb.WatchHomeTimelineResponse) -> None:
        """Do what an event says."""
        match event.WhichOneof("event"):
            case "tweet":
                self.tweets[event.tweet.id] = event.tweet
            case "removed_tweet_id":
                self.tweets.pop(event.removed_tweet_id, None)
            case "reset":
                self.tweets.clear()
        assert event.resume_token, f"an event has no token: {event}"
        self.token = event.resume_token

    def shown(self) -> list[Tweet]:
        """Return the tweets as the client shows them, newest first."""
        return [self.tweets[id_] for id_ in sorted(self.tweets, reverse=True)]

    def copy(self) -> HeldByClient:
        """Return a client that holds the same."""
        other = copy(self)
        other.tweets = dict(self.tweets)
        return other


class WatchClient:
    """Watches a timeline from a thread of its own, and comes back whenever the stream ends."""

    def __init__(
        self,
        channel: grpc.Channel,
        user_id: int,
        limit: int,
        on_heartbeat: Callable[[Iterable[int]], None] = lambda _: None,
    ) -> None:
        """Begin to watch.

        Args:
            channel: to the read service.
            user_id: whose timeline.
            limit: how many of the newest tweets.
            on_heartbeat: called with the ids that are held when a heartbeat arrives.
        """
        self._stub = ReadServiceStub(channel)
        self._user_id = user_id
        self._on_heartbeat = on_heartbeat
        self._lock = threading.Lock()
        self._held = HeldByClient(limit)
        self._next: HeldByClient | None = None
        self._call: Any = None
        self._stopping = threading.Event()
        self._reading = threading.Event()
        self._reading.set()
        self.events: Counter[str] = Counter()
        """How many events came, by kind."""
        self.ends: Counter[str] = Counter()
        """How often the stream has ended, by code."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def shown(self) -> list[tuple[int, str]]:
        """Return ids and texts of the tweets, newest first."""
        with self._lock:
            return [(tweet.id, tweet.content) for tweet in self._held.shown()]

    def held(self) -> HeldByClient:
        """Return a copy of what the client holds."""
        with self._lock:
            return self._held.copy()

    def pause(self) -> None:
        """Stop reading events."""
        self._reading.clear()

    def go_on(self) -> None:
        """Read events again."""
        self._reading.set()

    def cut(self) -> None:
        """Lose the connection."""
        if self._call is not None:
            self._call.cancel()

    def go_back(self, held: HeldByClient) -> None:
        """Come back with what a client has held before, as after it was restored from a copy."""
        with self._lock:
            self._next = held.copy()
        self.cut()

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        self._reading.set()
        while self._thread.is_alive():
            self.cut()
            self._thread.join(0.1)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                self._held, self._next = self._next or self._held, None
                held = self._held
            request = pb.WatchHomeTimelineRequest(
                user_id=self._user_id, limit=held.limit, resume_token=held.token
            )
            self._call = self._stub.WatchHomeTimeline(request)
            try:
                for event in self._call:
                    self._take(held, event)
                self.ends["OK"] += 1
            except grpc.RpcError as error:
                self.ends[error.code().name] += 1
            self._stopping.wait(0.05)

    def _take(self, held: HeldByClient, event: pb.WatchHomeTimelineResponse) -> None:
        with self._lock:
            held.apply(event)
            self.events[event.WhichOneof("event") or ""] += 1
            ids = list(held.tweets)
        if event.HasField("heartbeat"):
            self._on_heartbeat(ids)
        self._reading.wait()
