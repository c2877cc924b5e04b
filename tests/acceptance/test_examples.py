"""The consumers in examples/, on the topic of a running system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # theirs
from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.events.v1.events_pb2 import FeedEvent, TweetCreated
from fanfare.write.v1.write_pb2 import DeleteTweetRequest, UpdateTweetRequest
from helpers.fanfare import Fanfare

from core.feed.sharding import PARTITIONS
from core.storage.kafka import producer_settings

ROOT = Path(__file__).resolve().parents[2]
GO = ROOT / "examples" / "go"
SECONDS = 120


@pytest.fixture(scope="module")
def people(fanfare: Fanfare) -> tuple[User, User]:
    """Return an author with a tweet, an edited one and a deleted one, and a follower."""
    author = fanfare.user()
    reader = fanfare.user(author)
    fanfare.unfollow(fanfare.user(author), author)
    kept, edited, deleted = (
        fanfare.tweet(author, f"{word} word{author.id}") for word in ("kept", "former", "deleted")
    )
    assert kept.id < edited.id
    content = f"edited word{author.id}"
    fanfare.write.UpdateTweet(UpdateTweetRequest(tweet_id=edited.id, content=content))
    fanfare.write.DeleteTweet(DeleteTweetRequest(tweet_id=deleted.id))
    fanfare.wait_drained()
    return author, reader


def _send_again(fanfare: Fanfare, key: str) -> None:
    """Send the records of a key again, in their order, as a relay that was killed does."""
    consumer = Consumer(
        {"bootstrap.servers": fanfare.settings.kafka_address(), "group.id": "test: none"}
    )
    producer = Producer(producer_settings(fanfare.settings.kafka_address()))
    topic = fanfare.settings.topic
    ends = {}
    for number in range(PARTITIONS):
        place = TopicPartition(topic, number)
        low, ends[number] = consumer.get_watermark_offsets(place, timeout=10)
        if low == ends[number]:
            del ends[number]
    consumer.assign([TopicPartition(topic, number, 0) for number in ends])
    while ends:
        message = consumer.poll(10)
        assert message is not None
        if (message.key() or b"").decode() == key:
            producer.produce(topic, message.value(), key, headers=message.headers())
        if (message.offset() or 0) + 1 >= ends.get(message.partition() or 0, 0):
            ends.pop(message.partition() or 0, None)
    consumer.close()
    assert producer.flush(10) == 0


def _twice(
    fanfare: Fanfare, author: User, run: Callable[[], None], found: Callable[[], object]
) -> list[object]:
    """Return what is found after a run, and after another in which all records come again."""
    run()
    first = found()
    _send_again(fanfare, str(author.id))
    run()
    return [first, found()]


def _start(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def _run(*command: str | Path, **environment: str) -> str:
    done = _start(*command, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_search_index(fanfare: Fanfare, people: tuple[User, User], tmp_path: Path) -> None:
    """It finds texts as they are now, and does so again when all records have come again."""
    author, _ = people
    program: list[str | Path] = [
        sys.executable,
        ROOT / "examples" / "python" / "search_index.py",
        tmp_path / "index",
    ]
    kafka = ["--brokers", fanfare.settings.kafka_address(), "--topic", fanfare.settings.topic]

    def search() -> object:
        lines = _run(*program, "--search", f"word{author.id}", PYTHONPATH=str(ROOT / "gen"))
        return [line.split(None, 2)[1:] for line in lines.splitlines()]

    def read() -> None:
        _run(*program, *kafka, "--until-end", PYTHONPATH=str(ROOT / "gen"))

    expected = [[str(author.id), repr(f"{word} word{author.id}")] for word in ("edited", "kept")]
    assert _twice(fanfare, author, read, search) == [expected, expected]


def _go(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["go", *arguments], cwd=GO, capture_output=True, text=True, check=False, timeout=SECONDS
    )


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the program in examples/go."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    if not (ROOT / "clients" / "go" / "gen").is_dir():
        pytest.skip("clients/go, whose generated code the example uses, is not here")
    downloaded = _go("mod", "download")
    if downloaded.returncode:
        pytest.skip(f"the modules of examples/go cannot be downloaded: {downloaded.stderr}")
    program = tmp_path_factory.mktemp("go") / "counts"
    built = _go("build", "-trimpath", "-o", str(program), ".")
    assert built.returncode == 0, built.stderr
    return program


def test_the_counts(
    fanfare: Fanfare, people: tuple[User, User], counts: Path, tmp_path: Path
) -> None:
    """They are those of Postgres, and stay so when all records have come again."""
    author, reader = people
    state = tmp_path / "counts.json"
    printed: list[str] = []

    def read() -> None:
        place = ["-brokers", fanfare.settings.kafka_address(), "-topic", fanfare.settings.topic]
        printed[:] = _run(counts, "-state", state, "-until-end", *place).splitlines()

    def found() -> object:
        users = {user["user_id"]: user for user in map(json.loads, printed)}
        return users[str(author.id)], users.get(str(reader.id))

    expected = ({"user_id": str(author.id), "tweets": 2, "followers": 1}, None)
    assert _twice(fanfare, author, read, found) == [expected, expected]


class OwnTopic:
    """A topic of one partition, to which a test sends what no relay sends."""

    def __init__(self, kafka: str, name: str) -> None:
        self.name = name
        self.place = ["--brokers", kafka, "--topic", name, "--until-end"]
        """Options of the two programs."""
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self._producer = Producer(producer_settings(kafka))
        self._admin.create_topics([NewTopic(name, 1, 1)])[name].result(SECONDS)

    def tweet(self, id_: int, epoch: int = 2, replayed: str | None = None) -> None:
        """Send the event of a tweet; replayed: as a dead letter that is sent again."""
        tweet = Tweet(id=id_, user_id=7, content=f"tweet {id_}")
        event = FeedEvent(tweet_created=TweetCreated(tweet=tweet), relay_epoch=epoch, history="a1")
        self.send(event, [("replayed", replayed.encode())] if replayed else [])

    def send(
        self, event: FeedEvent, headers: list[tuple[str, str | bytes | None]] | None = None
    ) -> None:
        """Send any record, and wait until Kafka has it."""
        self._producer.produce(self.name, event.SerializeToString(), headers=headers or [])
        assert self._producer.flush(SECONDS) == 0

    def expire(self, offset: int) -> None:
        """Delete the records before an offset."""
        place = TopicPartition(self.name, 0, offset)
        self._admin.delete_records([place])[place].result(SECONDS)


@pytest.mark.parametrize("language", ["python", "go"])
def test_records_of_no_relay(
    fanfare: Fanfare, request: pytest.FixtureRequest, tmp_path: Path, language: str
) -> None:
    """They neither stop a consumer nor have an effect; lost records and no topic do stop it."""
    state = tmp_path / "state"
    kafka = fanfare.settings.kafka_address()
    program: list[str | Path] = [
        sys.executable,
        ROOT / "examples" / "python" / "search_index.py",
        state,
    ]
    if language == "go":
        program = [request.getfixturevalue("counts"), "-state", state]

    def start(place: list[str]) -> subprocess.CompletedProcess[str]:
        return _start(*program, *place, PYTHONPATH=str(ROOT / "gen"))

    topic = OwnTopic(kafka, f"examples.{language}")
    topic.tweet(1)
    topic.send(FeedEvent(history="of another program"))
    topic.send(FeedEvent(history="b2", tweet_created=TweetCreated()))
    topic.tweet(2, epoch=50, replayed="feed/0/0")
    topic.tweet(3)
    done = start(topic.place)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("skipped ") == 3
    if language == "python":
        found = _run(*program, "--search", "tweet", PYTHONPATH=str(ROOT / "gen"))
        assert [line.split()[0] for line in found.splitlines()] == ["3", "1"]
    else:
        assert json.loads(done.stdout)["tweets"] == 2

    topic.tweet(4)
    topic.expire(6)
    shorter = OwnTopic(kafka, f"examples.{language}.restored")
    for place, reason in (
        (topic.place, "has the offsets 6 to 6"),
        (shorter.place, "has the offsets 0 to 0"),
        ([*topic.place, "--topic", "examples.none"], "nknown topic"),
    ):
        failed = start(place)
        assert failed.returncode == 1
        message = failed.stderr.replace("UNKNOWN_TOPIC", "Unknown topic")
        assert reason in message, message
