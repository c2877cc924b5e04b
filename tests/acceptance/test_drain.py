"""Each process is replaced under load, with the steps of docs/operations.md.

The gRPC clients have the service config that Fanfare publishes, docs/service_config.json.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

import grpc
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from helpers.fanfare import Fanfare
from helpers.replacement import replace
from helpers.waiting import wait_until
from helpers.watch_client import WatchClient

from core.settings import GrpcServerKind
from ops.system import System

GRPC_CALLERS = 16
REST_CALLERS = 4
# Calls of each kind that must succeed between two replacements.
ENOUGH = 50
PAUSE_SECONDS = 0.01
CALL_SECONDS = 60.0
# A connection without requests is closed two seconds after a drain has begun.
IDLE_SECONDS = 4.0
SERVICE_CONFIG = Path(__file__).parents[2] / "docs" / "service_config.json"
# What is replaced, and by which gRPC server. So both kinds drain, beside a successor of the other.
REPLACEMENTS = (
    ("worker", GrpcServerKind.GRPCIO),
    ("read", GrpcServerKind.NATIVE),
    ("write", GrpcServerKind.NATIVE),
    ("read", GrpcServerKind.GRPCIO),
    ("write", GrpcServerKind.GRPCIO),
)


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system in which a process and its successor can share a port."""
    with Fanfare(start_system(FANFARE_SHARE_PORTS="true")) as clients:
        yield clients


class _Load:
    """Callers that create tweets and read timelines; each makes one call after another."""

    def __init__(self, clients: Fanfare, author: User, reader: User) -> None:
        self._settings = clients.settings
        self._author = author
        self._reader = reader
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        options = [("grpc.service_config", SERVICE_CONFIG.read_text())]
        alone = [*options, ("grpc.use_local_subchannel_pool", 1)]
        # Half of the callers share connections, half have one each.
        half = GRPC_CALLERS // 4
        self._channels = [
            grpc.insecure_channel(target, options=alone if number < half else options)
            for target in (
                self._settings.write_service_target(),
                self._settings.read_service_target(),
            )
            for number in range(2 * half)
        ]
        writers, readers = self._channels[: 2 * half], self._channels[2 * half :]
        rest = [self._write_by_rest, self._read_by_rest] * (REST_CALLERS // 2)
        self._threads = [
            *(threading.Thread(target=self._write, args=[channel]) for channel in writers),
            *(threading.Thread(target=self._read, args=[channel]) for channel in readers),
            *(threading.Thread(target=caller) for caller in rest),
            threading.Thread(target=self._write_seldom_by_rest),
        ]

    def __enter__(self) -> Self:
        """Start the callers."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the running calls, and stop."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for channel in self._channels:
            channel.close()

    def wait_for_more(self) -> None:
        """Wait until more calls of each kind have succeeded."""
        before = self.done.copy()
        kinds = ("write", "read", "rest write", "rest read")
        wait_until(
            lambda: self.failed or all(self.done[k] >= before[k] + ENOUGH for k in kinds),
            "the callers go on",
        )

    def _write(self, channel: grpc.Channel) -> None:
        # Without a request_id, so that the count of tweets shows a retry that created two.
        request = w.CreateTweetRequest(user_id=self._author.id, content="x")
        stub = WriteServiceStub(channel)
        self._repeat("write", lambda: stub.CreateTweet(request, timeout=CALL_SECONDS))

    def _read(self, channel: grpc.Channel) -> None:
        request = r.GetHomeTimelineRequest(user_id=self._reader.id)
        stub = ReadServiceStub(channel)
        self._repeat("read", lambda: stub.GetHomeTimeline(request, timeout=CALL_SECONDS))

    def _write_by_rest(self) -> None:
        body = json.dumps({"user_id": self._author.id, "content": "x"})
        port = self._settings.rest_write_port
        connection = HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
        self._repeat("rest write", lambda: _send(connection, "POST", "/tweets", body))
        connection.close()

    def _read_by_rest(self) -> None:
        path = f"/timeline/{self._reader.id}"
        port = self._settings.rest_read_port
        connection = HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
        self._repeat("rest read", lambda: _send(connection, "GET", path))
        connection.close()

    def _write_seldom_by_rest(self) -> None:
        """Leave the connection idle between requests, and try again once, as HTTP clients do."""
        port = self._settings.rest_write_port
        connection = HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
        body = {"user_id": self._author.id, "content": "seldom"}

        def create() -> None:
            text = json.dumps(body | {"request_id": str(uuid.uuid4())})
            try:
                _send(connection, "POST", "/tweets", text)
            except (OSError, HTTPException):
                connection.close()
                _send(connection, "POST", "/tweets", text)

        chance = random.Random(0)
        self._repeat("rest seldom", create, lambda: chance.uniform(0, IDLE_SECONDS))
        connection.close()

    def _repeat(
        self,
        kind: str,
        call: Callable[[], object],
        pause: Callable[[], float] = lambda: PAUSE_SECONDS,
    ) -> None:
        # With pauses, to leave CPU for the processes that start.
        while not self._stopping.wait(pause()):
            try:
                call()
            except (grpc.RpcError, OSError, HTTPException, AssertionError) as error:
                with self._lock:
                    self.failed.append(f"{kind}: {error!r}")
            else:
                with self._lock:
                    self.done[kind] += 1


def _send(connection: HTTPConnection, verb: str, path: str, body: str | None = None) -> None:
    """Send a request over the connection, which is opened again if the server has closed it."""
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request(verb, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status in {200, 201}, f"{answer.status} {text.decode()}"


def test_every_process_is_replaced_without_a_failed_call(own: Fanfare) -> None:
    """No call fails, whether by gRPC clients with the published config or by REST clients."""
    author = own.user()
    reader = own.user(author)
    channel = grpc.insecure_channel(own.settings.read_service_target())
    watcher = WatchClient(channel, reader.id, limit=20)
    with _Load(own, author, reader) as load:
        for name, kind in REPLACEMENTS:
            load.wait_for_more()
            replace(own.system, name, grpc_server=kind)
        load.wait_for_more()
    assert load.failed == []
    tweets = own.sql("SELECT count(*) FROM tweets WHERE user_id = %s", author.id)
    kinds = ("write", "rest write", "rest seldom")
    assert tweets == [(sum(load.done[kind] for kind in kinds),)]
    own.wait_drained()
    own.wait_exact(reader)
    page = [(tweet.id, tweet.content) for tweet in own.timeline(reader, 20).tweets]
    wait_until(lambda: watcher.shown() == page, "the watcher shows the timeline")
    assert set(watcher.ends) == {"UNAVAILABLE"}
    watcher.close()
    channel.close()
