"""What the verification compares, and what it reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from redis.exceptions import ConnectionError as RedisConnectionError

from core.feed.checkpoints import Checkpoint
from core.feed.history import Lsn
from core.feed.sharding import PARTITIONS, SHARDS, Partition, Shard
from core.feed.timeline_lists import TimelineList, home_list
from core.feed.tweet_cache import DELETED, encode_entry, encode_lease
from fanout_worker import verifier as module
from fanout_worker.verification import (
    Difference,
    NotVerifiableError,
    Oracle,
    StoredRow,
    Verification,
)
from fanout_worker.verifier import Result, Verifier

HISTORY = "0123456789"
LIST = home_list(7)
ROWS = [StoredRow(id_, 1, f"text {id_}", 2, 5) for id_ in (30, 20, 10)]
EXACT = [b"=", b"30", b"20", b"10", b"0"]


def _entry(row: StoredRow, content: str | None = None, version: int | None = None) -> bytes:
    tweet = Tweet(id=row.id, user_id=row.user_id, content=content or row.content)
    return encode_entry(version or row.version, tweet.SerializeToString())


class _Servers:
    """All servers; a test changes what they hold."""

    def __init__(self) -> None:
        self.elements: list[bytes] = list(EXACT)
        self.entries: dict[int, bytes] = {row.id: _entry(row) for row in ROWS}
        self.oracles = [Oracle(HISTORY, ROWS, {30, 20, 10}, [])]
        """What the snapshots say, one after another; the last one stays."""
        self.unsent = 0
        """How often events are still unsent when that is asked."""
        self.topic_id = "topic"
        self.end = 4
        self.checkpoint: Checkpoint | None = Checkpoint(4, Lsn(1), 1, "topic")
        self.changes = 0
        """How many of the watches fail."""
        self.asked: list[str] = []
        self.lists: list[TimelineList] = [LIST]

    @asynccontextmanager
    async def watch(self, history: str, list_: TimelineList) -> AsyncIterator[_Servers]:
        assert (history, list_) == (HISTORY, LIST)
        self.asked.append("watch")
        yield self

    async def random_list(self, _history: str) -> TimelineList | None:
        return self.lists[0] if self.lists else None

    async def checkpoints(self) -> Mapping[tuple[Shard, Partition], Checkpoint]:
        self.asked.append("checkpoints")
        found = {
            (Shard(shard), Partition(partition)): self.checkpoint
            for shard in range(SHARDS)
            for partition in range(PARTITIONS)
        }
        return {place: checkpoint for place, checkpoint in found.items() if checkpoint is not None}

    async def finish(self, ids: Sequence[int]) -> Mapping[int, bytes]:
        self.asked.append("finish")
        if self.changes:
            self.changes -= 1
            raise NotVerifiableError("the list has changed")
        return {id_: self.entries[id_] for id_ in ids if id_ in self.entries}

    async def history(self) -> str | None:
        return HISTORY

    async def oracle(self, _list: TimelineList, floor: int, _ids: Sequence[int]) -> Oracle:
        self.asked.append("oracle")
        oracle = self.oracles.pop(0) if len(self.oracles) > 1 else self.oracles[0]
        return replace(oracle, rows=[row for row in oracle.rows if row.id >= floor])

    async def are_sent(self, _events: Sequence[int]) -> bool:
        self.asked.append("are_sent")
        self.unsent -= 1
        return self.unsent < 0

    async def ends(self) -> tuple[str, Mapping[Partition, int]]:
        self.asked.append("ends")
        ends = {Partition(partition): self.end for partition in range(PARTITIONS)}
        return self.topic_id, ends


class _Time:
    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


def _verification(servers: _Servers) -> Verification:
    time = _Time()
    return Verification(servers, servers, servers, sleep=time.sleep, clock=time.clock)


async def _verify(servers: _Servers) -> Difference | None:
    return await _verification(servers).verify(HISTORY, LIST)


async def test_the_steps_are_in_this_order() -> None:
    """Each later step relies on the ones before it."""
    servers = _Servers()
    servers.unsent = 1
    assert await _verify(servers) is None
    assert servers.asked == [
        *("watch", "oracle", "are_sent", "are_sent", "ends", "checkpoints", "finish")
    ]


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ([b"=", b"30", b"10", b"0"], "1 tweets are missing, such as 20"),
        ([b"=", b"0"], "3 tweets are missing, such as 30"),
        ([b"=", b"30", b"10"], "1 tweets are missing, such as 20"),
        ([b"=", b"40", b"30", b"20", b"10", b"0"], "1 tweets should not be there, such as 40"),
        ([b"40", *EXACT], "1 tweets should not be there, such as 40"),
    ],
)
async def test_a_wrong_list_is_described(elements: list[bytes], said: str) -> None:
    """Ids that are missing or superfluous are found, in the log of a list and in its base."""
    servers = _Servers()
    servers.elements = elements
    servers.oracles = [replace(servers.oracles[0], existing={40, 30, 20, 10})]
    found = await _verify(servers)
    assert found is not None
    assert found.text == said


@pytest.mark.parametrize(
    ("id_", "entry"),
    [
        (20, _entry(ROWS[1], "old", 1)),
        (20, _entry(ROWS[1], "other")),
        (20, DELETED),
        (50, _entry(StoredRow(50, 1, "deleted", 1, 5))),
    ],
    ids=["an old text", "another text", "a false tombstone", "a deleted tweet that is alive"],
)
async def test_a_wrong_entry_of_the_tweet_cache_is_found(id_: int, entry: bytes) -> None:
    """Texts are compared as well."""
    servers = _Servers()
    if id_ == 50:
        servers.elements = [b"50", *EXACT]
    servers.entries[id_] = entry
    found = await _verify(servers)
    assert found is not None
    assert found.ids == {id_}


@pytest.mark.parametrize(
    ("id_", "entry"),
    [
        (20, None),
        (20, encode_lease("x")),
        (20, _entry(ROWS[1], "newer", 3)),
        (50, DELETED),
        (50, None),
    ],
    ids=["absent", "being filled", "newer than the snapshot", "deleted", "deleted and expired"],
)
async def test_a_right_entry_of_the_tweet_cache(id_: int, entry: bytes | None) -> None:
    """Readers are shown what Postgres says, or something newer than the snapshot."""
    servers = _Servers()
    if id_ == 50:
        servers.elements = [b"50", *EXACT]
    servers.entries.pop(id_, None)
    if entry is not None:
        servers.entries[id_] = entry
    assert await _verify(servers) is None


async def test_below_the_floor_postgres_answers() -> None:
    """A list without a tail need not have older tweets."""
    servers = _Servers()
    servers.elements = [b"=", b"30", b"20"]
    assert await _verify(servers) is None


async def test_tweets_of_pull_authors_may_be_in_the_list_or_not() -> None:
    """Reads merge the authors' own lists."""
    servers = _Servers()
    pulled = [StoredRow(25, 9, "a", 1, 6), StoredRow(15, 9, "b", 1, 6)]
    rows = sorted([*ROWS, *pulled], reverse=True)
    servers.oracles = [replace(servers.oracles[0], rows=rows, existing={30, 20, 15, 10})]
    servers.elements = [b"=9", b"30", b"20", b"15", b"10", b"0"]
    servers.entries[15] = _entry(pulled[1])
    assert await _verify(servers) is None
    servers.elements = [b"=", b"30", b"20", b"15", b"10", b"0"]
    found = await _verify(servers)
    assert found is not None
    assert found.text == "1 tweets are missing, such as 25"


@pytest.mark.parametrize("seq", [None, 6], ids=["unfollowed", "followed again"])
async def test_a_tweet_that_leaves_the_timeline_does_not_count(seq: int | None) -> None:
    """The worker may know of an unfollow whose event it has not applied yet."""
    servers = _Servers()
    servers.elements = [b"=", b"30", b"10", b"0"]
    later = [row for row in ROWS if row.id != 20]
    if seq is not None:
        later.insert(1, ROWS[1]._replace(follow_seq=seq))
    first = servers.oracles[0]
    servers.oracles = [first, replace(first, rows=later)]
    assert await _verify(servers) is None
    assert servers.asked[-1] == "oracle"


@pytest.mark.parametrize(
    "change",
    [
        {"elements": []},
        {"elements": [b"=", b"Blease"]},
        {"elements": [b"30", b"20"]},
        {"oracles": [Oracle("other", ROWS, {30, 20, 10}, [])]},
        {"oracles": [Oracle(None, ROWS, {30, 20, 10}, [])]},
        {"unsent": 10_000},
        {"checkpoint": None},
        {"checkpoint": Checkpoint(3, Lsn(1), 1, "topic")},
        {"checkpoint": Checkpoint(4, Lsn(1), 1, "former")},
        {"changes": 1},
    ],
    ids=str,
)
async def test_what_is_on_its_way_is_not_compared(change: dict[str, object]) -> None:
    """Whatever is not certain yet is no difference, although the list is wrong here."""
    servers = _Servers()
    servers.elements = [b"=", b"0"]
    for name, value in change.items():
        setattr(servers, name, value)
    with pytest.raises(NotVerifiableError):
        await _verify(servers)


# The verifier --------------------------------------------------------------------------


def _verifier(servers: _Servers) -> Verifier:
    return Verifier(servers, servers, _verification(servers), 6, sleep=_Time().sleep)


async def test_a_wrong_list_is_verified_twice(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the user and the tweet, but no text."""
    servers = _Servers()
    servers.elements = [b"=", b"30", b"10", b"0"]
    assert await _verifier(servers).verify_one() is Result.WRONG
    assert servers.asked.count("watch") == 2
    assert "kind=timeline user_id=7 difference=1 tweets are missing, such as 20" in caplog.text
    assert "text 20" not in caplog.text


async def test_a_difference_that_goes_by_itself_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server was restored from an older copy, and the worker has noticed it meanwhile."""
    servers = _Servers()
    servers.elements = [b"=", b"30", b"10", b"0"]
    time = _Time()

    async def heal(seconds: float) -> None:
        await time.sleep(seconds)
        servers.elements = list(EXACT)

    verifier = Verifier(servers, servers, _verification(servers), 6, sleep=heal)
    assert await verifier.verify_one() is Result.EXACT
    assert time.now == module.CONFIRM_SECONDS
    assert "wrong timeline" not in caplog.text
    # Another tweet differs the second time.
    servers.elements = [b"=", b"30", b"10", b"0"]

    async def move(_seconds: float) -> None:
        servers.elements = [b"=", b"30", b"20", b"0"]

    verifier = Verifier(servers, servers, _verification(servers), 6, sleep=move)
    assert await verifier.verify_one() is Result.EXACT


async def test_a_list_that_changes_is_tried_again() -> None:
    """After some tries it is skipped."""
    servers = _Servers()
    servers.changes = 2
    assert await _verifier(servers).verify_one() is Result.EXACT
    servers.changes = 3
    assert await _verifier(servers).verify_one() is Result.SKIPPED


async def test_without_lists_or_servers_nothing_is_verified(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That is not an error of the verification, and not a wrong timeline."""
    servers = _Servers()
    servers.lists = []
    assert await _verifier(servers).verify_one() is Result.SKIPPED

    async def away() -> str | None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(servers, "history", away)
    assert await _verifier(servers).verify_one() is Result.SKIPPED
    assert caplog.text == ""
