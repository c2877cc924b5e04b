"""Clients and conditions for tests against the running system."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

import grpc
import psycopg
import pytest
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from psycopg import sql

from core.feed.history import OtherHistoryError
from core.feed.keys import Keys
from core.rpc.tls import client_context, open_channel
from core.runtime.metrics import Metric
from core.settings import PREFIX
from ops.feed_status import Feed, current_keys
from ops.system import System

WAIT_SECONDS = 30.0
# What every password begins with, so that it can be looked for wherever it must not be.
SECRET = "pass-for-tests-"
# That, and what every access token begins with: {"alg":"EdDSA", in base64.
MARKS = (SECRET, "eyJhbGciOiJFZERTQSI")
RECORD_BYTES = 1_048_588  # Kafka's default for max.message.bytes
PORTS = ("write_port", "read_port", "worker_port", "rest_write_port", "rest_read_port")
_NAMES = itertools.count(1)


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until the condition holds; fail the test if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


@dataclass(frozen=True)
class Failure:
    """A call's error: its code, its reason, and the fields that it names."""

    code: grpc.StatusCode
    reason: str
    fields: tuple[str, ...] = ()


def failure(call: Callable[[], object]) -> Failure:
    """Return the error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    status = rpc_status.from_call(cast("grpc.Call", caught.value))
    assert status is not None, f"no details in {caught.value}"
    return Failure(caught.value.code(), *details(status))


def details(status: Status) -> tuple[str, tuple[str, ...]]:
    """Return the reason of a status and the fields that it names."""
    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "fanfare"
    return info.reason, tuple(violation.field for violation in bad.field_violations)


class Fanfare:
    """A client of a running system, by gRPC, REST, SQL and Redis."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.settings = system.settings
        tls_dir = self.settings.tls_dir
        self._write = open_channel(self.settings.write_service_target(), tls_dir)
        self._read = open_channel(self.settings.read_service_target(), tls_dir)
        self.write = WriteServiceStub(self._write)
        self.read = ReadServiceStub(self._read)
        self.feed = Feed(self.settings)
        self.redis = redis.Redis.from_url(self.settings.redis_address())

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._write.close()
        self._read.close()
        self.feed.close()
        self.redis.close()

    @property
    def keys(self) -> Keys:
        """The keys in Redis of the history that the database is at now.

        After a restart of the primary there is none for a moment: it is waited for.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return current_keys(self.settings)
            except OtherHistoryError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query to the primary."""
        with psycopg.connect(self.settings.primary_dsn(), autocommit=True) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def where(self, *marks: str) -> set[str]:
        """Return the tables, and "redis" and "logs", that hold one of the marks."""
        everything = sql.SQL("SELECT * FROM {}")
        names = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        held = {
            name: b"".join(
                bytes(value) if isinstance(value, bytes) else repr(value).encode()
                for row in self.sql(everything.format(sql.Identifier(name)).as_string())
                for value in row
            )
            for (name,) in names
        }
        logs = (self.settings.state_dir / "logs").glob("*.log")
        held["logs"] = b"".join(path.read_bytes() for path in logs)
        held["redis"] = b"".join(
            key + self._redis_value(key) for key in self.redis.scan_iter(count=1000)
        )
        return {name for name, text in held.items() if any(m.encode() in text for m in marks)}

    def _redis_value(self, key: bytes) -> bytes:
        is_list = self.redis.type(key) == b"list"
        return repr(self.redis.lrange(key, 0, -1) if is_list else self.redis.get(key)).encode()

    def user(self, *followed: User) -> User:
        """Create a user who follows these."""
        name = f"user_{next(_NAMES)}_{uuid.uuid4().hex[:8]}"
        request = w.CreateUserRequest(
            username=name, email=f"{name}@example.com", password=f"{SECRET}{uuid.uuid4().hex}"
        )
        user = self.write.CreateUser(request).user
        for other in followed:
            self.follow(user, other)
        return user

    def follow(self, follower: User, followed: User) -> None:
        """Make one follow the other."""
        self.write.FollowUser(w.FollowUserRequest(follower_id=follower.id, followed_id=followed.id))

    def unfollow(self, follower: User, followed: User) -> None:
        """End a follow."""
        self.write.UnfollowUser(
            w.UnfollowUserRequest(follower_id=follower.id, followed_id=followed.id)
        )

    def tweet(self, author: User, content: str = "hello") -> Tweet:
        """Create a tweet."""
        request = w.CreateTweetRequest(user_id=author.id, content=content)
        return self.write.CreateTweet(request).tweet

    def tweets(self, author: User, count: int) -> list[Tweet]:
        """Create many tweets, in batches."""
        created: list[Tweet] = []
        while len(created) < count:
            items = [
                w.CreateTweetRequest(user_id=author.id, content=f"tweet {n}")
                for n in range(len(created), min(len(created) + 1000, count))
            ]
            answer = self.write.BatchCreateTweets(w.BatchCreateTweetsRequest(requests=items))
            created += [result.tweet for result in answer.results]
        return created

    def cached_pair(self, tweets: int = 3) -> tuple[User, User]:
        """Return an author of some tweets, and a follower whose cached list takes pushes."""
        author = self.user()
        reader = self.user(author)
        self.tweets(author, tweets)
        self.wait_drained()  # the follow's event drops the list
        self.wait_exact(reader)
        return author, reader

    def timeline(self, reader: User, limit: int = 20, **page: Any) -> r.GetHomeTimelineResponse:
        """Return a page of a home timeline."""
        request = r.GetHomeTimelineRequest(user_id=reader.id, limit=limit, **page)
        return self.read.GetHomeTimeline(request)

    def whole_timeline(self, reader: User, limit: int = 100) -> list[int]:
        """Return the ids on all pages of a home timeline."""
        ids: list[int] = []
        token = ""
        while True:
            page = self.timeline(reader, limit, page_token=token)
            ids += [tweet.id for tweet in page.tweets]
            token = page.next_page_token
            if not token:
                return ids

    def oracle(self, reader: User) -> list[int]:
        """Return the ids that a home timeline must have."""
        rows = self.sql(
            "SELECT tweets.id FROM follows JOIN tweets ON user_id = followed_id"
            " WHERE follower_id = %s ORDER BY tweets.id DESC",
            reader.id,
        )
        return [row[0] for row in rows]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `fanfare` with these arguments against the system, as a person would."""
        names = {name: str(getattr(self.settings, name)) for name in PORTS} | {
            "postgres_dsn": self.settings.primary_dsn(),
            "postgres_replica_dsn": self.settings.replica_dsn(),
            "redis_url": self.settings.redis_address(),
            "kafka_bootstrap_servers": self.settings.kafka_address(),
        }
        if self.settings.auth_keys is not None:
            names["auth_keys"] = str(self.settings.auth_keys)
            names["tls_dir"] = str(self.settings.tls_dir)
        own = {f"{PREFIX}{name.upper()}": value for name, value in names.items()}
        return subprocess.run(
            ["fanfare", *arguments],
            env=dict(os.environ) | own | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def rare_paths(self) -> Counter[Metric]:
        """Return how often each rare path was taken, by all processes and their former lives."""
        counts: Counter[Metric] = Counter()
        for log in (self.settings.state_dir / "logs").glob("*.log"):
            for line in re.findall(r" metrics: (.*)", log.read_text(errors="replace")):
                for path, times in (item.split("=") for item in line.split()):
                    counts[Metric(path)] += int(times)
        return counts

    def wait_counted(self, path: Metric, before: Counter[Metric]) -> None:
        """Wait until a rare path was taken more often than before."""
        wait_until(lambda: self.rare_paths()[path] > before[path], f"{path} is counted")

    def set_record_bytes(self, size: int) -> None:
        """Have Kafka refuse records that are larger."""
        entry = ConfigEntry(
            "max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET
        )
        topic = ConfigResource(ResourceType.TOPIC, self.settings.topic, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self.settings.kafka_address(), "log_level": 0})
        for done in admin.incremental_alter_configs([topic]).values():
            done.result(10)

    def wait_sent(self) -> None:
        """Wait until Kafka has every event."""
        unsent = "SELECT id FROM outbox WHERE sent_at IS NULL"
        wait_until(lambda: not self.sql(unsent), "the outbox is empty", 60)

    def wait_drained(self) -> None:
        """Wait until every event has been applied to every shard of Redis."""
        wait_until(self._drained, "the outbox and Kafka are drained")

    def _drained(self) -> bool:
        try:
            return self.feed.remaining() == 0
        except (KafkaException, redis.RedisError):
            return False  # the server was killed, and is on its way back

    def wait_exact(self, *readers: User) -> None:
        """Wait until every page of these timelines equals the oracle."""
        for reader in readers:
            wait_until(
                partial(self._exact, reader), f"the timeline of {reader.username} is the oracle's"
            )

    def _exact(self, reader: User) -> bool:
        return self.whole_timeline(reader) == self.oracle(reader)

    def rest(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        token: str = "",
        forwarded: str = "",
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, JSON and headers of a REST call, to the port that its verb goes to."""
        settings = self.settings
        batch = path.split("?", maxsplit=1)[0].endswith(":batchGet")
        port = settings.rest_read_port if verb == "GET" or batch else settings.rest_write_port
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310
            f"{'http' if settings.tls_dir is None else 'https'}://127.0.0.1:{port}{path}",
            method=verb,
            data=data,
            headers=({"Content-Type": "application/json"} if data is not None else {})
            | ({"Authorization": f"Bearer {token}"} if token else {})
            | ({"X-Forwarded-For": forwarded} if forwarded else {}),
        )
        try:
            context = client_context(settings.tls_dir)
            with urllib.request.urlopen(request, timeout=15, context=context) as response:  # noqa: S310
                status, text, headers = response.status, response.read(), response.headers
        except urllib.error.HTTPError as error:
            status, text, headers = error.code, error.read(), error.headers
        return status, json.loads(text) if text else None, dict(headers)


def ids(tweets: Sequence[Tweet]) -> list[int]:
    """Return the ids of tweets, in their order."""
    return [tweet.id for tweet in tweets]
