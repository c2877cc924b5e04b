"""Connections that go silent are given up in time and replaced, and the work goes on.

Every connection of the system goes through a proxy that can swallow what passes while the kernel
goes on to acknowledge it. After each fault a test waits until commands, reads, the relay and the
worker are well again, and prints how many seconds each took (`pytest -s`).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
from helpers.silent_proxy import HOST, SilentProxy
from helpers.support import Fanfare, wait_until
from redis.exceptions import RedisError

from core.feed.timeline_lists import home_list
from core.settings import Settings
from embedded.jars import kafka_jars
from embedded.kafka import kafka
from embedded.ports import free_ports
from embedded.stack import Stack, default_parts_dir
from ops.feed_status import Feed
from ops.system import System

SILENCE_SECONDS = 2.0
# How long a fault lasts that passes by itself.
FAULT_SECONDS = SILENCE_SECONDS + 1
# Everything takes a few times SILENCE_SECONDS.
LIMIT_SECONDS = 40.0
# A call that takes longer is not well.
CALL_SECONDS = 1.0
AT_ONCE = 5

SERVERS = ("primary", "replica", "redis", "kafka")


@dataclass
class Proxied:
    """A system all of whose connections go through proxies, and clients that go past them."""

    clients: Fanfare
    proxies: dict[str, SilentProxy]
    stack: Stack
    author: User
    reader: User
    given: Settings
    """With the addresses of the proxies."""


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Return the system; its DSN names the primary and the replica."""
    folder: Path = tmp_path_factory.mktemp("silence")
    with ExitStack() as opened:
        proxies = {edge: opened.enter_context(SilentProxy()) for edge in SERVERS}
        port = opened.enter_context(_kafka(folder / "kafka", proxies["kafka"].port))
        own_kafka: Any = {"kafka_bootstrap_servers": f"{HOST}:{port}"}
        stack = Stack(
            folder / "stack", default_parts_dir(), given=Settings(**own_kafka), replica=True
        )
        opened.enter_context(stack)
        ports = stack._ports
        servers = (ports.postgres, ports.replica, ports.redis, port)
        for edge, server_port in zip(SERVERS, servers, strict=True):
            proxies[edge].server_port = server_port
        at = {edge: f"{HOST}:{proxy.port}" for edge, proxy in proxies.items()}
        real = f"{HOST}:{ports.postgres}"
        dsn = stack.addresses.postgres_dsn
        addresses: Any = {
            "postgres_dsn": dsn.replace(real, f"{at['primary']},{at['replica']}")
            + "?target_session_attrs=read-write",
            "postgres_replica_dsn": dsn.replace(real, at["replica"]),
            "redis_url": f"redis://{at['redis']}/0",
            "kafka_bootstrap_servers": at["kafka"],
        }
        system = System(
            folder / "system",
            default_parts_dir(),
            given=Settings(**addresses),
            environment={"FANFARE_SILENCE_SECONDS": str(SILENCE_SECONDS)},
        )
        opened.enter_context(system)
        given = system.settings
        system.settings = _with(given, **vars(stack.addresses))
        clients = opened.enter_context(Fanfare(system))
        author = clients.user()
        yield Proxied(clients, proxies, stack, author, clients.user(author), given)


@contextmanager
def _kafka(folder: Path, advertised_port: int) -> Iterator[int]:
    """Yield the port of a Kafka that sends its clients to another port."""
    port, controller_port = free_ports(2)
    jars = kafka_jars(default_parts_dir() / "kafka", lambda _: None, threading.Event())
    server = kafka(folder, port, controller_port, jars)
    properties = folder / "server.properties"
    own = f"advertised.listeners=PLAINTEXT://{HOST}:"
    text = properties.read_text()
    properties.write_text(text.replace(f"{own}{port}", f"{own}{advertised_port}"))
    server.start()
    try:
        yield port
    finally:
        server.stop()


def _with(settings: Settings, **changed: Any) -> Settings:
    return Settings(**settings.model_dump() | changed)


# Faults, of the proxies of some edges ------------------------------------------------------

Fault = Callable[[Proxied, Sequence[str]], None]


def _mute_open(own: Proxied, edges: Sequence[str]) -> None:
    """Silence the open connections for good; new ones are served."""
    for edge in edges:
        own.proxies[edge].mute_open()


def _mute_all(own: Proxied, edges: Sequence[str]) -> None:
    """Silence everything for a while; then new connections are served."""
    for edge in edges:
        own.proxies[edge].mute_all()
    time.sleep(FAULT_SECONDS)
    _heal(own, edges)


def _cut_and_mute(own: Proxied, edges: Sequence[str]) -> None:
    """Cut what is open, and leave new connections without an answer for a while."""
    for edge in edges:
        own.proxies[edge].mute_all()
        own.proxies[edge].cut()
    time.sleep(FAULT_SECONDS)
    _heal(own, edges)


def _cut(own: Proxied, edges: Sequence[str]) -> None:
    for edge in edges:
        own.proxies[edge].cut()


def _slow(own: Proxied, edges: Sequence[str]) -> None:
    for edge in edges:
        own.proxies[edge].slow(0.01)


def _heal(own: Proxied, edges: Sequence[str]) -> None:
    for edge in edges:
        own.proxies[edge].heal()


def _stop(own: Proxied, _edges: Sequence[str]) -> None:
    """Stop every process of the primary for a while."""
    postmaster = own.stack.postgres.pid
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    stopped = [postmaster, *map(int, children)]
    _signal(stopped, signal.SIGSTOP)
    try:
        time.sleep(FAULT_SECONDS)
    finally:
        _signal(stopped, signal.SIGCONT)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.parametrize(
    ("edges", "fault"),
    [
        *(((edge,), _mute_open) for edge in SERVERS),
        (SERVERS, _mute_all),
        (SERVERS, _cut_and_mute),
        (SERVERS, _cut),
        (SERVERS, _slow),
        (("primary",), _stop),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "+".join(value),
)
def test_all_is_well_again(proxied: Proxied, edges: Sequence[str], fault: Fault) -> None:
    """Whatever becomes of the connections, commands, reads, the relay and the worker go on."""
    author = _prepare(proxied)
    fault(proxied, edges)
    try:
        _wait_well(proxied, author, f"{'+'.join(edges)} | {fault.__name__.strip('_')}")
    finally:
        _heal(proxied, edges)


def test_a_promoted_replica_is_found(proxied: Proxied) -> None:
    """Of a DSN with several hosts everything goes on with the one that is now the primary."""
    author = _prepare(proxied)
    clients = proxied.clients
    replica = proxied.stack.addresses.postgres_replica_dsn
    proxied.stack.postgres.kill()
    with psycopg.connect(replica, autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")
    clients.settings = _with(clients.settings, postgres_dsn=replica)
    _wait_well(proxied, author, "primary | killed, replica promoted", in_redis=False)
    clients.settings = _with(clients.settings, postgres_dsn=proxied.given.postgres_dsn)
    status = clients.command("status")
    assert status.returncode == 0, status.stderr
    assert "does not answer" not in status.stdout
    migrated = clients.command("migrate")
    assert migrated.returncode == 0, migrated.stderr


# What is well ------------------------------------------------------------------------------


def _prepare(own: Proxied) -> User:
    """Return an author whom the worker has not seen yet, and whose follower has a cached list."""
    wait_until(lambda: _commands(own) and _reads(own), "commands and reads are well before")
    author = own.clients.user()
    own.clients.follow(own.reader, author)
    for _ in range(3):  # so that the pools hold several connections
        wait_until(lambda: _commands(own) and _reads(own), "commands and reads are well before")
    wait_until(lambda: _drained(own), "the feed has drained")
    own.clients.wait_exact(own.reader)
    return author


def _wait_well(own: Proxied, author: User, title: str, *, in_redis: bool = True) -> None:
    """Wait until everything is well, and print how many seconds each part took.

    in_redis: whether the cached list is still of use, so that the worker's push can be seen there.
    """
    began = time.monotonic()
    # By SQL and straight into the database, so that the relay and the worker have something to
    # do whatever becomes of the commands.
    tweet_id, event_id = _tweet_by_sql(own.clients, author)
    probes: dict[str, Callable[[], bool]] = {
        "commands": lambda: _commands(own),
        "reads": lambda: _reads(own),
        "REST commands": lambda: _rest(
            own, "POST", "/tweets", {"user_id": str(own.author.id), "content": "by REST"}
        ),
        "REST reads": lambda: _rest(own, "GET", f"/tweets/user/{own.author.id}"),
        "relay": lambda: _is_sent(own, event_id),
        "worker": lambda: _is_pushed(own, tweet_id) if in_redis else _drained(own),
    }

    def wait(name: str) -> float:
        wait_until(probes[name], f"{name} well again", LIMIT_SECONDS)
        return time.monotonic() - began

    with ThreadPoolExecutor(len(probes)) as pool:
        took = list(pool.map(wait, probes))
    print(f"\n| {title} | " + " | ".join(f"{seconds:.1f}" for seconds in took) + " |")  # noqa: T201
    wait_until(lambda: _drained(own), "the feed has drained")
    own.clients.wait_exact(own.reader)


def _commands(own: Proxied) -> bool:
    tweet = w.CreateTweetRequest(user_id=own.author.id, content="hello")
    follow = w.FollowUserRequest(follower_id=own.reader.id, followed_id=own.author.id)
    write = own.clients.write
    follows = [write.FollowUser.future(follow, timeout=CALL_SECONDS) for _ in range(AT_ONCE)]
    return _all_answered([*follows, write.CreateTweet.future(tweet, timeout=CALL_SECONDS)])


def _reads(own: Proxied) -> bool:
    tweets = r.ListUserTweetsRequest(user_id=own.author.id)
    home = r.GetHomeTimelineRequest(user_id=own.reader.id)
    read = own.clients.read
    lists = [read.ListUserTweets.future(tweets, timeout=CALL_SECONDS) for _ in range(AT_ONCE)]
    return _all_answered([*lists, read.GetHomeTimeline.future(home, timeout=CALL_SECONDS)])


def _all_answered(calls: Sequence[Any]) -> bool:
    with suppress(grpc.RpcError):
        for call in calls:
            call.result()
        return True
    return False


def _rest(own: Proxied, verb: str, path: str, body: object = None) -> bool:
    with suppress(OSError):
        status, _, _ = own.clients.rest(verb, path, body)
        return status in {200, 201}
    return False


def _is_sent(own: Proxied, event_id: int) -> bool:
    sent = "SELECT 1 FROM outbox WHERE id = %s AND sent_at IS NOT NULL"
    return bool(own.clients.sql(sent, event_id))


def _is_pushed(own: Proxied, tweet_id: int) -> bool:
    key = own.clients.keys.for_list(home_list(own.reader.id))
    return b"%d" % tweet_id in own.clients.redis.lrange(key, 0, -1)


def _drained(own: Proxied) -> bool:
    # By clients of Kafka that are new: it sends them to the proxy too.
    with suppress(KafkaException, RedisError), Feed(own.clients.settings) as feed:
        return feed.remaining() == 0
    return False


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
