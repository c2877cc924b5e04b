"""Connections that become silent are closed in time and replaced, and the work goes on.

Every connection of the system goes through a proxy that can drop all bytes while the kernel still
acknowledges them. After each fault a test waits until commands, reads, the relay and the worker
work again, and prints how many seconds each took (`pytest -s`).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace
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
from helpers.fanfare import Fanfare
from helpers.silent_proxy import HOST, SilentProxy
from helpers.waiting import wait_until
from redis.exceptions import RedisError

from core.feed.timeline_lists import home_list
from core.settings import Settings
from embedded.jars import kafka_jars
from embedded.kafka import prepare_kafka
from embedded.ports import free_ports
from embedded.stack import Stack, default_parts_dir
from ops.feed_status import Feed
from ops.system import System

SILENCE_SECONDS = 2.0
# How long a temporary fault lasts.
FAULT_SECONDS = SILENCE_SECONDS + 1
# On an idle machine, recovery takes a few times SILENCE_SECONDS.
LIMIT_SECONDS = 60.0
# A call that takes longer counts as failed.
CALL_SECONDS = 1.0
AT_ONCE = 5

SERVERS = ("primary", "replica", "redis", "kafka")


@dataclass
class Proxied:
    """A system whose connections all go through proxies, and clients that connect directly."""

    clients: Fanfare
    proxies: dict[str, SilentProxy]
    stack: Stack
    author: User
    reader: User
    given: Settings
    """The settings with the addresses of the proxies."""


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Return the system, whose DSN names the primary and the replica."""
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
    """Yield the port of a Kafka that advertises another port to its clients."""
    port, controller_port = free_ports(2)
    jars = kafka_jars(default_parts_dir() / "kafka", lambda _: None, threading.Event())
    server = prepare_kafka(folder, port, controller_port, jars)
    properties = folder / "server.properties"
    own = f"advertised.listeners=PLAINTEXT://{HOST}:"
    text = properties.read_text()
    properties.write_text(text.replace(f"{own}{port}", f"{own}{advertised_port}"))
    server.start()
    try:
        yield port
    finally:
        server.stop()


def _wait_replicated(clients: Fanfare, replica: str) -> None:
    """Wait until the replica has everything that is in the primary now."""
    ((written,),) = clients.sql("SELECT pg_current_wal_lsn()::text")
    with psycopg.connect(replica, autocommit=True) as connection:
        replayed = b"SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(
            lambda: connection.execute(replayed, [written]).fetchone() == (True,),
            "the replica has caught up",
        )


def _clients_of(own: Proxied, **changed: Any) -> Fanfare:
    """Return clients of the same system that use other addresses."""
    system = copy(own.clients.system)
    system.settings = _with(system.settings, **changed)
    return Fanfare(system)


def _with(settings: Settings, **changed: Any) -> Settings:
    return Settings(**settings.model_dump() | changed)


# Faults, of the proxies of some edges ------------------------------------------------------

Fault = Callable[[Proxied, Sequence[str]], None]


def _mute_open(own: Proxied, edges: Sequence[str]) -> None:
    """Make the open connections silent for good; new ones work."""
    for edge in edges:
        own.proxies[edge].mute_open()


def _mute_all(own: Proxied, edges: Sequence[str]) -> None:
    """Make all connections silent for a while; then new ones work."""
    for edge in edges:
        own.proxies[edge].mute_all()
    time.sleep(FAULT_SECONDS)
    _heal(own, edges)


def _cut_and_mute(own: Proxied, edges: Sequence[str]) -> None:
    """Reset the open connections, and leave new ones without an answer for a while."""
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
    """Pause every process of the primary for a while."""
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
def test_everything_works_again(proxied: Proxied, edges: Sequence[str], fault: Fault) -> None:
    """After each fault of connections, commands, reads, the relay and the worker go on."""
    author = _prepare(proxied)
    fault(proxied, edges)
    try:
        _wait_working(proxied, author, f"{'+'.join(edges)} | {fault.__name__.strip('_')}")
    finally:
        _heal(proxied, edges)


def test_a_promoted_replica_is_used(proxied: Proxied) -> None:
    """If the DSN names several hosts, everything goes on with the new primary."""
    author = _prepare(proxied)
    replica = proxied.stack.addresses.postgres_replica_dsn
    _wait_replicated(proxied.clients, replica)
    proxied.stack.postgres.kill()
    with psycopg.connect(replica, autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")
    with _clients_of(proxied, postgres_dsn=replica) as clients:
        own = replace(proxied, clients=clients)
        _wait_working(own, author, "primary | killed, replica promoted", in_redis=False)
    with _clients_of(proxied, postgres_dsn=proxied.given.postgres_dsn) as clients:
        status = clients.command("status")
        assert status.returncode == 0, status.stderr
        assert "does not answer" not in status.stdout
        migrated = clients.command("migrate")
        assert migrated.returncode == 0, migrated.stderr


# What must work ------------------------------------------------------------------------------


def _prepare(own: Proxied) -> User:
    """Return an author unknown to the worker, with a follower whose list is in Redis."""
    wait_until(lambda: _commands(own) and _reads(own), "commands and reads work before")
    author = own.clients.user()
    own.clients.follow(own.reader, author)
    for _ in range(3):  # to fill the connection pools
        wait_until(lambda: _commands(own) and _reads(own), "commands and reads work before")
    wait_until(lambda: _drained(own), "the feed has drained")
    own.clients.wait_exact(own.reader)
    return author


def _wait_working(own: Proxied, author: User, title: str, *, in_redis: bool = True) -> None:
    """Wait until everything works, and print how many seconds each part took.

    Args:
        own: the system.
        author: the author of the tweet that must arrive.
        title: names the fault in the output.
        in_redis: whether the list in Redis is still in use, so that the worker's push shows in it.
    """
    began = time.monotonic()
    # With SQL, so that the relay and the worker get an event even if commands do not work yet.
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
        wait_until(probes[name], f"{name} work again", LIMIT_SECONDS)
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
    # With new clients each time: Kafka directs these to the proxy too, where older connections may
    # be silent.
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
