"""Erased means erased: after the bounds in docs/operations.md no file has what was deleted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.people import People, Person
from helpers.waiting import wait_until

from core.rpc.tls import open_channel
from core.storage.kafka import PLACE_HEADER, REASON_HEADER, dead_letter_topic, producer_settings
from embedded.stack import default_parts_dir
from ops.system import System
from write_service.outbox_partitions import PARTITIONS, partition_name

# What an erased user and a deleted tweet leave behind. No word occurs in another.
NAME, NEW_NAME = "quokkaname", "numbatname"
EMAIL, NEW_EMAIL = "quokka.mail@example.com", "numbat.mail@example.com"
BIO = "quokka-biography"
TEXT, NEW_TEXT, DELETED_TEXT = "quokka-tweet", "numbat-tweet", "wombat-tweet"
WORDS = (NAME, NEW_NAME, EMAIL, NEW_EMAIL, BIO, TEXT, NEW_TEXT, DELETED_TEXT)
TABLES = "users, sessions, tweets, tweet_requests, outbox"
# About 17 seconds.
SHORT_RETENTION_DAYS = "0.0002"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(start_system: Callable[..., System]) -> tuple[Path, list[bytes]]:
    """Return the state folder of a stopped system in which a user and a tweet were erased.

    Also returns what no file may contain in the end.
    """
    system = start_system(auth=True, replica=True)
    target = system.settings.write_service_target()
    with Fanfare(system) as own, open_channel(target, system.settings.tls_dir) as channel:
        # Otherwise a search of the files would miss compressed values.
        own.redis.config_set("rdbcompression", "no")
        marks = _live_and_erase(own, People(own, AuthServiceStub(channel)))
        own.wait_drained()
        _checkpoint(system)
    system.stop()
    return system.settings.state_dir, marks


@pytest.fixture(scope="module")
def later(folder: tuple[Path, list[bytes]]) -> Iterator[Fanfare]:
    """Return clients of the system after a restart with a short retention."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FANFARE_RETENTION_DAYS", SHORT_RETENTION_DAYS)
        patch.delenv("FANFARE_GRPC_SERVER", raising=False)  # native has no TLS
        system = System(folder[0], default_parts_dir(), auth=True, replica=True)
        with system, Fanfare(system) as own:
            yield own


def _live_and_erase(own: Fanfare, people: People) -> list[bytes]:
    """Create, change and erase a user and tweets; return what may not be left of them."""
    password = people.person().password
    created = w.CreateUserRequest(username=NAME, email=EMAIL, password=password, bio=BIO)
    gone = Person(own.write.CreateUser(created).user, password, people.sign_in(NAME, password))
    reader, other = people.person(), people.person()
    for author in (gone, other):
        follow = w.FollowUserRequest(follower_id=reader.user.id, followed_id=author.user.id)
        own.write.FollowUser(follow, metadata=reader.metadata)
    texts = {TEXT: gone, DELETED_TEXT: other}
    tweets = {text: _tweet(own, author, text) for text, author in texts.items()}
    renamed = w.UpdateUserRequest(user_id=gone.user.id, username=NEW_NAME, email=NEW_EMAIL)
    own.write.UpdateUser(renamed, metadata=gone.metadata)
    # The new address has ended the access token.
    gone = Person(gone.user, password, people.sign_in(NEW_NAME, password))
    own.wait_drained()
    _read(own, reader)
    edited = w.UpdateTweetRequest(tweet_id=tweets[TEXT].id, content=NEW_TEXT)
    own.write.UpdateTweet(edited, metadata=gone.metadata)
    own.wait_drained()
    _read(own, reader)
    _add_dead_letter(own, tweets[TEXT])
    own.sql("ANALYZE")
    own.sql("CHECKPOINT")
    ((hash_,),) = own.sql("SELECT password_hash FROM users WHERE id = %s", gone.user.id)
    sessions = own.sql("SELECT secret_sha256 FROM sessions WHERE user_id = %s", gone.user.id)

    deleted = w.DeleteTweetRequest(tweet_id=tweets[DELETED_TEXT].id)
    own.write.DeleteTweet(deleted, metadata=other.metadata)
    erased = w.DeleteUserRequest(user_id=gone.user.id)
    own.write.DeleteUser(erased, metadata=gone.metadata)
    query = "SELECT FROM users WHERE id = %s"
    wait_until(lambda: not own.sql(query, gone.user.id), "the user is deleted")
    return [*(word.encode() for word in WORDS), hash_.encode(), *(secret for (secret,) in sessions)]


def _tweet(own: Fanfare, author: Person, text: str) -> Tweet:
    request = w.CreateTweetRequest(user_id=author.user.id, content=text)
    return own.write.CreateTweet(request, metadata=author.metadata).tweet


def _read(own: Fanfare, reader: Person) -> None:
    home = r.GetHomeTimelineRequest(user_id=reader.user.id)
    assert len(own.read.GetHomeTimeline(home, metadata=reader.metadata).tweets) == 2


def _add_dead_letter(own: Fanfare, tweet: Tweet) -> None:
    event = pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet))
    producer = Producer(producer_settings(own.settings.kafka_address()))
    producer.produce(
        dead_letter_topic(own.settings.topic),
        event.SerializeToString(),
        str(tweet.user_id),
        headers={PLACE_HEADER: "feed/0/1", REASON_HEADER: "a test"},
    )
    assert producer.flush(10) == 0


def _checkpoint(system: System) -> None:
    """Have the primary and the replica write everything into their data files."""
    settings = system.settings
    for dsn in (settings.primary_dsn(), settings.replica_dsn()):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")


def _found(folder: Path, marks: list[bytes]) -> dict[str, list[bytes]]:
    """Return the files below the folder that contain marks, and which ones."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            # Kafka's indexes have only offsets and times, and are 10 MB of zeros each.
            if name.endswith("index"):
                continue
            path = Path(parent, name)
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # a server has just removed it
            if seen := [mark for mark in marks if mark in content]:
                found[str(path.relative_to(folder))] = seen
    return found


def _places(found: dict[str, list[bytes]]) -> set[str]:
    """Return the kinds of files: the first three folders of their paths."""
    return {"/".join(Path(path).parent.parts[:3]) for path in found}


def test_right_after_an_erasure_its_traces_are_where_the_documents_say(
    folder: tuple[Path, list[bytes]],
) -> None:
    """The search finds what is erased, so that finding nothing later means something."""
    places = _places(_found(*folder))
    topic = "kafka/data/fanfare.feed.v1"
    assert f"{topic}.dlq-0" in places
    assert any(place.startswith(f"{topic}-") for place in places)
    servers = ("postgres", "postgres-replica")
    expected = {f"{server}/data/{kind}" for server in servers for kind in ("base", "pg_wal")}
    assert expected | {"valkey/data/appendonlydir"} <= places
    # Logs, statistics, keys and everything else have nothing.
    assert {place for place in places if not place.startswith("kafka/")} == expected | {
        "valkey/data/appendonlydir"
    }


def test_after_its_bounds_nothing_is_left(folder: tuple[Path, list[bytes]], later: Fanfare) -> None:
    """No file of any server has a trace of an erased user or a deleted tweet."""
    state_dir, marks = folder
    _hasten(later)
    for server, what in {
        "kafka": "segments are deleted once their newest record is old",
        "valkey": "the worker has the append-only file rewritten",
    }.items():
        wait_until(lambda s=server: not _found(state_dir / s, marks), what, 300)  # type: ignore[misc]
    wait_until(lambda: not later.where(*WORDS), "the relay purges old events", 120)
    wait_until(lambda: not _dead_rows(later), "autovacuum removes deleted rows", 120)

    # What docs/operations.md gives to those who need the bytes in the free space of pages gone.
    later.sql(f"VACUUM FULL {TABLES}")

    def is_overwritten() -> bool:
        for _ in range(8):
            # What archive_timeout does every half hour. A switch without any WAL does nothing.
            later.sql("SELECT pg_logical_emit_message(false, 'test', 'any')")
            later.sql("SELECT pg_switch_wal()")
        _checkpoint(later.system)
        return not any(_found(folder, marks) for folder in state_dir.glob("*/data/pg_wal"))

    wait_until(is_overwritten, "files of the write-ahead log are overwritten", 300)
    assert _found(state_dir, marks) == {}


def _dead_rows(own: Fanfare) -> int:
    ((count,),) = own.sql(
        "SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname = ANY(%s)",
        [*TABLES.split(", "), *map(partition_name, range(PARTITIONS))],
    )
    return int(count)


def _hasten(own: Fanfare) -> None:
    """Shorten the servers' own intervals, which the documents add to the bounds."""
    own.redis.config_set("rdbcompression", "no")
    own.sql("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    own.sql("SELECT pg_reload_conf()")
    admin = AdminClient({"bootstrap.servers": own.settings.kafka_address(), "log_level": 0})
    entry = ConfigEntry("file.delete.delay.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    for name in (own.settings.topic, dead_letter_topic(own.settings.topic)):
        topic = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        for done in admin.incremental_alter_configs([topic]).values():
            done.result(10)
