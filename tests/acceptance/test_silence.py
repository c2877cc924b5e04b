"""Connections that go silent: each is given up in time, replaced, and the work goes on.

Every connection of the system goes through a proxy that can swallow what passes, while the kernel
still acknowledges it. After each fault the test measures how long commands, reads, the relay and
the worker take to be well again, and prints it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from confluent_kafka import KafkaException
from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.events.v1 import events_pb2 as pb
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from psycopg.conninfo import make_conninfo
from redis.exceptions import RedisError
from silent_proxy import HOST, SilentProxy
from support import Fanfare, ids, wait_until

from cli.feed import Feed
from cli.system import System
from core.settings import Settings
from core.timeline import home_list
from embedded.jars import kafka_jars
from embedded.kafka import kafka
from embedded.ports import free_ports
from embedded.server import Server
from embedded.stack import Stack, default_parts_dir

SILENCE_SECONDS = 2.0
CALL_SECONDS = 1.0
AT_ONCE = 5
EDGES = ("primary", "replica", "redis", "kafka", "write", "read")


@dataclass
class Proxied:
    """A system all of whose connections go through proxies, and clients that go past them."""

    clients: Fanfare
    proxies: dict[str, SilentProxy]
    stack: Stack
    kafka: Server
    author: User
    reader: User


@contextmanager
def _kafka(folder: Path, advertised_port: int) -> Iterator[tuple[Server, int]]:
    """Yield a Kafka that tells its clients to come to another port, and its own port."""
    port, controller_port = free_ports(2)
    jars = kafka_jars(default_parts_dir() / "kafka", lambda _: None, threading.Event())
    server = kafka(folder, port, controller_port, jars)
    properties = folder / "server.properties"
    own = f"advertised.listeners=PLAINTEXT://{HOST}:"
    text = properties.read_text().replace(f"{own}{port}", f"{own}{advertised_port}")
    properties.write_text(text)
    server.start()
    try:
        yield server, port
    finally:
        server.stop()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Return the system."""
    folder: Path = tmp_path_factory.mktemp("silence")
    parts = default_parts_dir()
    with ExitStack() as opened:
        proxies = {edge: opened.enter_context(SilentProxy()) for edge in EDGES}
        broker, kafka_port = opened.enter_context(_kafka(folder / "kafka", proxies["kafka"].port))
        elsewhere = Settings(kafka_bootstrap_servers=f"{HOST}:{kafka_port}")  # type: ignore[arg-type]
        stack = opened.enter_context(Stack(folder / "stack", parts, given=elsewhere, replica=True))
        direct = stack.addresses
        ports = {
            "primary": stack._ports.postgres,
            "replica": stack._ports.replica,
            "redis": stack._ports.redis,
            "kafka": kafka_port,
        }
        for edge, port in ports.items():
            proxies[edge].server_port = port
        given = Settings(
            # The replica is the one to go to after its promotion.
            postgres_dsn=direct.postgres_dsn.replace(
                f"{HOST}:{ports['primary']}",
                f"{HOST}:{proxies['primary'].port},{HOST}:{proxies['replica'].port}",
            )
            + "?target_session_attrs=read-write",  # type: ignore[arg-type]
            postgres_replica_dsn=direct.postgres_dsn.replace(
                str(ports["primary"]), str(proxies["replica"].port)
            ),  # type: ignore[arg-type]
            redis_url=f"redis://{HOST}:{proxies['redis'].port}/0",  # type: ignore[arg-type]
            kafka_bootstrap_servers=f"{HOST}:{proxies['kafka'].port}",  # type: ignore[arg-type]
        )
        silence = {} if os.environ.get("BEFORE") else {"FANFARE_SILENCE_SECONDS": f"{SILENCE_SECONDS}"}
        system = System(
            folder / "system",
            parts,
            given=given,
            environment=silence
            | {f"FANFARE_{edge.upper()}_TARGET": f"{HOST}:{proxies[edge].port}" for edge in ("write", "read")},
        )
        proxies["write"].server_port = system.settings.write_port
        proxies["read"].server_port = system.settings.read_port
        opened.enter_context(system)
        addresses = {
            "postgres_dsn": direct.postgres_dsn,
            "postgres_replica_dsn": direct.postgres_replica_dsn,
            "redis_url": direct.redis_url,
            "kafka_bootstrap_servers": f"{HOST}:{kafka_port}",
        }
        system.settings = Settings(**system.settings.model_dump() | addresses)
        clients = opened.enter_context(Fanfare(system))
        author = clients.user()
        reader = clients.user(author)
        clients.tweet(author)
        clients.wait_drained()
        clients.wait_exact(reader)
        yield Proxied(clients, proxies, stack, broker, author, reader)


def _together(calls: list[Any]) -> bool:
    try:
        for call in calls:
            call.result()
    except grpc.RpcError as e:
        print(time.monotonic(), e.code(), e.details())
        return False
    return True


def _commands(own: Proxied) -> bool:
    request = w.CreateTweetRequest(user_id=own.author.id, content="x")
    follow = w.FollowUserRequest(follower_id=own.reader.id, followed_id=own.author.id)
    return _together(
        [own.clients.write.CreateTweet.future(request, timeout=CALL_SECONDS)]
        + [own.clients.write.FollowUser.future(follow, timeout=CALL_SECONDS) for _ in range(AT_ONCE)]
    )


def _reads(own: Proxied) -> bool:
    read = own.clients.read
    tweets = r.ListUserTweetsRequest(user_id=own.author.id)
    home = r.GetHomeTimelineRequest(user_id=own.reader.id)
    calls = [read.ListUserTweets.future(tweets, timeout=CALL_SECONDS) for _ in range(AT_ONCE)]
    return _together([*calls, read.GetHomeTimeline.future(home, timeout=CALL_SECONDS)])


def _rest(own: Proxied, verb: str, path: str, body: object = None) -> bool:
    try:
        return own.clients.rest(verb, path, body)[0] < 300
    except OSError:
        return False


def _seconds(began: float, condition: Callable[[], bool], limit: float) -> float:
    """Return after how many seconds the condition held; fail after the limit."""
    while not condition():
        if time.monotonic() - began > limit:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - began


def _tweet_by_sql(clients: Fanfare, author: User) -> tuple[int, int]:
    """Create a tweet without the write service; return its id, and that of its event."""
    ((tweet_id,),) = clients.sql("SELECT next_tweet_id()")
    tweet = Tweet(id=tweet_id, user_id=author.id, content="by SQL")
    event = pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet))
    ((event_id,),) = clients.sql(
        "WITH tweet AS (INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
        " VALUES (%s, %s, 'by SQL', now(), now()))"
        " INSERT INTO outbox (key, type, payload) VALUES (%s, 'tweet.created', %s) RETURNING id",
        *(tweet_id, author.id, author.id, event.SerializeToString()),
    )
    return tweet_id, event_id


def _drained(own: Proxied) -> bool:
    with suppress(KafkaException, RedisError), Feed(own.clients.settings) as feed:
        return feed.remaining() == 0
    return False


def measure(own: Proxied, fault: Callable[[], None], limit: float) -> dict[str, float]:
    """Return for commands, reads and so on how many seconds after the fault they were well."""
    clients = own.clients
    author = clients.user()
    clients.follow(own.reader, author)
    for _ in range(3):
        _commands(own), _reads(own)  # so that the pools hold several connections
    wait_until(lambda: _drained(own), "the feed has drained")
    clients.wait_exact(own.reader)
    key = clients.keys.for_list(home_list(own.reader.id))
    fault()
    began = time.monotonic()
    tweet_id, event_id = _tweet_by_sql(clients, author)

    def sent() -> bool:
        row = "SELECT 1 FROM outbox WHERE id = %s AND sent_at IS NOT NULL"
        return bool(clients.sql(row, event_id))

    def pushed() -> bool:
        # Its author is new: the worker must ask Postgres who follows them.
        return b"%d" % tweet_id in clients.redis.lrange(key, 0, -1)

    probes: dict[str, Callable[[], bool]] = {
        "commands": lambda: _commands(own),
        "reads": lambda: _reads(own),
        "REST commands": lambda: _rest(own, "POST", "/tweets", {"user_id": str(own.author.id), "content": "x"}),
        "REST reads": lambda: _rest(own, "GET", f"/tweets/user/{own.author.id}"),
        "relay": sent,
        "worker": pushed,
    }
    with ThreadPoolExecutor(len(probes)) as pool:
        found = {name: pool.submit(_seconds, began, probe, limit) for name, probe in probes.items()}
        return {name: future.result() for name, future in found.items()}


LIMIT = 60.0 if os.environ.get("BEFORE") else 20.0


def _mute_all(proxy: SilentProxy) -> None:
    """Nothing is answered for a while; then connections that are new are served."""
    proxy.mute_all()
    time.sleep(3)
    proxy.heal()


FAULTS: dict[str, Callable[[SilentProxy], None]] = {
    "open ones mute": SilentProxy.mute_open,
    "all mute": _mute_all,
    "cut": SilentProxy.cut,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("edge", EDGES)
def test_all_is_well_again(proxied: Proxied, edge: str, fault: str) -> None:
    """Whatever becomes of the connections to one server."""
    found = measure(proxied, lambda: FAULTS[fault](proxied.proxies[edge]), LIMIT)
    print(f"\n| {edge} | {fault} | " + " | ".join(f"{s:.1f}" for s in found.values()), flush=True)
    assert max(found.values()) < LIMIT
