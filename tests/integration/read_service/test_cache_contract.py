"""The contract of the caches in read_service/protocols.py, on a real Valkey and on the fake."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import pytest
import redis
from helpers.fakes.timeline_redis import FakeRedis, FakeTimelineCache, FakeTweetCache
from helpers.fanfare import Fanfare

from core.feed.checkpoints import Checkpoint
from core.feed.history import Lsn, Moment
from core.feed.keys import Keys
from core.feed.sharding import PARTITIONS, SHARDS, Partition, Shard
from core.feed.timeline_lists import TimelineList, author_list, encode_separator, home_list
from core.feed.tweet_cache import DELETED, SET_IF_NEWER, encode_entry, encode_lease
from read_service.cache import CacheConnection
from read_service.local_timelines import LocalTimelines
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import ListBase, TimelineCache, TweetCache
from read_service.timeline_cache import RedisTimelineCache
from read_service.tweet_cache import RedisTweetCache

HISTORY = "cccccccccc"
HOME, AUTHOR = home_list(7), author_list(7)
CAP = 4


class Keyspace(Protocol):
    """The keys, as the fan-out and these tests change them."""

    def push(self, list_: TimelineList, *ids: int) -> None:
        """Push ids to a list if there is one."""

    def drop(self, list_: TimelineList) -> None:
        """Remove a list."""

    def put_list(self, list_: TimelineList, *elements: bytes) -> None:
        """Replace a list."""

    def elements(self, list_: TimelineList) -> list[bytes]:
        """Return the elements of a list."""

    def apply_tweet(self, tweet_id: int, value: bytes) -> None:
        """Store the value of a tweet unless the present value is at least as new."""

    def remove_tweet(self, tweet_id: int) -> None:
        """Remove a tweet."""

    def value(self, tweet_id: int) -> bytes | None:
        """Return the value of a tweet."""

    def set_applied(self, shard: int, lsn: Lsn | None) -> None:
        """Set the checkpoints of a shard; None removes one of them."""


class RealKeyspace:
    """The keys in a real Valkey."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def push(self, list_: TimelineList, *ids: int) -> None:
        """Push ids to a list if there is one."""
        if ids:
            self._client.lpushx(self._keys.for_list(list_), *reversed(ids))

    def drop(self, list_: TimelineList) -> None:
        """Remove a list."""
        self._client.unlink(self._keys.for_list(list_))

    def put_list(self, list_: TimelineList, *elements: bytes) -> None:
        """Replace a list."""
        self.drop(list_)
        self._client.rpush(self._keys.for_list(list_), *elements)

    def elements(self, list_: TimelineList) -> list[bytes]:
        """Return the elements of a list."""
        return cast("list[bytes]", self._client.lrange(self._keys.for_list(list_), 0, -1))

    def apply_tweet(self, tweet_id: int, value: bytes) -> None:
        """Store the value of a tweet unless the present value is at least as new."""
        self._client.eval(SET_IF_NEWER, 1, self._keys.tweet(tweet_id), value, 60)

    def remove_tweet(self, tweet_id: int) -> None:
        """Remove a tweet."""
        self._client.unlink(self._keys.tweet(tweet_id))

    def value(self, tweet_id: int) -> bytes | None:
        """Return the value of a tweet."""
        return cast("bytes | None", self._client.get(self._keys.tweet(tweet_id)))

    def set_applied(self, shard: int, lsn: Lsn | None) -> None:
        """Set the checkpoints of a shard; None removes one of them."""
        if lsn is None:
            self._client.unlink(self._keys.checkpoint(Shard(shard), Partition(0)))
            return
        for partition in range(PARTITIONS):
            # The highest of them counts.
            value = Checkpoint(0, Lsn(lsn - partition), 1, "topic").encode()
            self._client.set(self._keys.checkpoint(Shard(shard), Partition(partition)), value)


@dataclass
class Subject:
    """One implementation of the caches, and access to its keys."""

    lists: TimelineCache
    tweets: TweetCache
    local: LocalTweetCache
    timelines: LocalTimelines
    keyspace: Keyspace
    connection: CacheConnection | None = None


@pytest.fixture(params=["fake", "valkey"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Return the caches in an empty Redis with all checkpoints at LSN 100."""
    local = LocalTweetCache(100)
    timelines = LocalTimelines(local, 1 << 20)
    if request.param == "fake":
        fake = FakeRedis(HISTORY, local, timelines)
        found = Subject(FakeTimelineCache(fake), FakeTweetCache(fake), local, timelines, fake)
    else:
        fanfare: Fanfare = request.getfixturevalue("fanfare")
        prefix = f"contract-{uuid.uuid4().hex}:"
        keys = Keys.of(prefix, HISTORY)
        connection = CacheConnection(fanfare.settings.redis_address(), prefix, timelines.forget)
        connection.enter(HISTORY)
        found = Subject(
            RedisTimelineCache(connection, ttl_seconds=60, build_seconds=10.0),
            RedisTweetCache(connection, local, ttl_seconds=60),
            local,
            timelines,
            RealKeyspace(fanfare.redis, keys),
            connection,
        )
    for shard in range(SHARDS):
        found.keyspace.set_applied(shard, Lsn(100))
    yield found
    if found.connection is not None:
        found.connection.close()
        for key in list(fanfare.redis.scan_iter(f"{prefix}*", count=1000)):
            fanfare.redis.unlink(key)


# Timeline lists.


async def test_heads_are_the_first_elements(subject: Subject) -> None:
    """A head has as many elements as were asked for, or all; an absent list has none."""
    subject.keyspace.put_list(HOME, b"9", b"=", b"8", b"7", b"0")
    heads = await subject.lists.heads([(HOME, 2), (HOME, None), (HOME, 9), (AUTHOR, 2)])
    whole = [b"9", b"=", b"8", b"7", b"0"]
    assert [list(head) for head in heads] == [[b"9", b"="], whole, whole, []]


async def test_a_build_lease_is_taken_of_absent_lists_only(subject: Subject) -> None:
    """Only one builder gets the lease, and learns what had been applied to the shards."""
    subject.keyspace.put_list(AUTHOR, b"=", b"0")
    leased = await subject.lists.begin_builds([HOME, AUTHOR], "1-a")
    assert leased.taken == [HOME]
    assert leased.applied == Moment(HISTORY, Lsn(100))
    assert (await subject.lists.begin_builds([HOME], "1-b")).taken == []
    assert subject.keyspace.elements(HOME) == [b"=", b"B1-a"]


async def test_the_highest_checkpoint_of_the_shards_counts(subject: Subject) -> None:
    """What is read for lists in several shards must contain what was applied to each."""
    other = home_list(8)
    subject.keyspace.set_applied(other.shard, Lsn(200))
    assert (await subject.lists.begin_builds([HOME], "1-a")).applied == Moment(HISTORY, Lsn(100))
    assert (await subject.lists.begin_builds([AUTHOR, other], "1-a")).applied == Moment(
        HISTORY, Lsn(200)
    )
    assert await subject.lists.applied(other.shard) == Moment(HISTORY, Lsn(200))


async def test_nothing_is_known_of_a_shard_without_a_checkpoint(subject: Subject) -> None:
    """If one checkpoint is absent, no moment is returned."""
    subject.keyspace.set_applied(HOME.shard, None)
    assert (await subject.lists.begin_builds([HOME], "1-a")).applied is None
    assert await subject.lists.applied(HOME.shard) is None
    assert (await subject.tweets.take_fill_leases([HOME.shard], "a")).applied is None


@pytest.mark.parametrize(
    ("pushed", "ids", "elements"),
    [
        ([], [], [b"=", b"0"]),
        ([], [3, 2, 1], [b"=", b"3", b"2", b"1", b"0"]),
        ([], [4, 3, 2, 1], [b"=", b"4", b"3", b"2", b"1"]),
        ([5, 3], [3, 2, 1], [b"=", b"5", b"3", b"2", b"1", b"0"]),
        ([6, 5], [3, 2, 1], [b"=", b"6", b"5", b"3", b"2"]),
        ([5], [4, 3, 2, 1], [b"=", b"5", b"4", b"3", b"2"]),
    ],
)
async def test_a_base_takes_in_what_was_pushed(
    subject: Subject, pushed: list[int], ids: list[int], elements: list[bytes]
) -> None:
    """The base is sorted, without duplicates and cut off at the cap, and says if it is complete."""
    await subject.lists.begin_builds([HOME], "1-a")
    subject.keyspace.push(HOME, *pushed)
    assert await subject.lists.finish_builds({HOME: ListBase(ids)}, "1-a", CAP) == [HOME]
    assert subject.keyspace.elements(HOME) == elements


async def test_the_base_names_the_pull_authors(subject: Subject) -> None:
    """The separator has the ids of the authors whose lists are merged."""
    await subject.lists.begin_builds([HOME], "1-a")
    await subject.lists.finish_builds({HOME: ListBase([5], [12, 40])}, "1-a", CAP)
    assert subject.keyspace.elements(HOME) == [encode_separator([12, 40]), b"5", b"0"]


async def test_a_build_loses_to_a_drop(subject: Subject) -> None:
    """A build of a dropped list is not stored, even if another builder holds the list by then."""
    await subject.lists.begin_builds([HOME, AUTHOR], "1-a")
    subject.keyspace.drop(HOME)
    bases = {HOME: ListBase([1]), AUTHOR: ListBase([1])}
    assert await subject.lists.finish_builds(bases, "1-a", CAP) == [AUTHOR]
    assert subject.keyspace.elements(HOME) == []
    await subject.lists.begin_builds([HOME], "1-b")
    assert await subject.lists.finish_builds({HOME: ListBase([1])}, "1-a", CAP) == []
    assert subject.keyspace.elements(HOME) == [b"=", b"B1-b"]


async def test_a_build_is_abandoned_by_its_lease(subject: Subject) -> None:
    """Only lists that are held by the lease are removed."""
    await subject.lists.begin_builds([HOME], "1-a")
    subject.keyspace.put_list(AUTHOR, b"=", b"0")
    assert await subject.lists.abandon_builds([HOME, AUTHOR], "1-b") == 0
    assert await subject.lists.abandon_builds([HOME, AUTHOR], "1-a") == 1
    assert subject.keyspace.elements(HOME) == []
    assert subject.keyspace.elements(AUTHOR) == [b"=", b"0"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], []),
        ([b"9", b"=", b"B1-a"], [b"9", b"=", b"B1-a"]),
        ([b"9", b"8"], []),
        ([b"9", b"="], []),
        ([b"=", b"0"], [b"=", b"0"]),
        ([b"6", b"7", b"6", b"=12", b"5", b"0"], [b"=12", b"7", b"6", b"5", b"0"]),
        ([b"10", b"9", b"=", b"8", b"7", b"6", b"0"], [b"=", b"10", b"9", b"8", b"7"]),
        # An id below the end of an incomplete base must not get in.
        ([b"9", b"3", b"=", b"8", b"7"], [b"=", b"9", b"8", b"7"]),
        ([b"9", b"3", b"=", b"8", b"7", b"0"], [b"=", b"9", b"8", b"7", b"3", b"0"]),
    ],
)
async def test_a_log_is_compacted(
    subject: Subject, before: list[bytes], after: list[bytes]
) -> None:
    """The log joins the base; a list without a base is removed, one being built is left alone."""
    if before:
        subject.keyspace.put_list(HOME, *before)
    head = await subject.lists.compact(HOME, CAP, 2)
    assert subject.keyspace.elements(HOME) == after
    assert list(head) == after[:2]


async def test_a_touch_changes_no_list(subject: Subject) -> None:
    """Present and absent lists can be touched, even twice."""
    subject.keyspace.put_list(HOME, b"=", b"0")
    for _ in range(2):
        await subject.lists.touch([HOME, AUTHOR])
    assert subject.keyspace.elements(HOME) == [b"=", b"0"]
    assert subject.keyspace.elements(AUTHOR) == []


async def test_a_change_of_a_tracked_list_is_reported_before_a_barrier(subject: Subject) -> None:
    """The process forgets the list, whatever changed it; a list that is not tracked stays."""
    other = home_list(8)
    changes: list[Callable[[], object]] = [
        lambda: subject.keyspace.push(HOME, 9),
        lambda: subject.keyspace.drop(HOME),
        lambda: subject.lists.compact(HOME, CAP, None),
        lambda: subject.lists.touch([HOME]),
    ]
    for change in changes:
        subject.keyspace.put_list(HOME, b"8", b"=", b"5", b"0")
        subject.keyspace.put_list(other, b"=", b"0")
        parsed: list[object] = []

        def remember(heads: Sequence[Sequence[bytes]], parsed: list[object] = parsed) -> None:
            parsed.append([list(head) for head in heads])
            for user_id in (7, 8):
                subject.timelines.remember(user_id, [], 1)

        wanted = [(other, 1), (HOME, 9)]
        heads = await subject.lists.heads(wanted, tracked={HOME}, parsed=remember)
        assert parsed == [[[b"="], [b"8", b"=", b"5", b"0"]]]
        assert parsed == [[list(head) for head in heads]]
        await subject.lists.barrier()
        assert subject.timelines.has(7, 1)
        changing = change()
        if isinstance(changing, Awaitable):
            await changing
        subject.keyspace.push(other, 9)
        await subject.lists.barrier()
        assert not subject.timelines.has(7, 1)
        assert subject.timelines.has(8, 1)


# Tweets.


async def test_values_come_in_the_order_of_the_ids(subject: Subject) -> None:
    """Tweets, deletions, leases and absences are told apart; the local cache learns the tweets."""
    subject.keyspace.apply_tweet(1, encode_entry(1, b"one"))
    subject.keyspace.apply_tweet(3, DELETED)
    await subject.tweets.take_fill_leases([4], "a")
    values = await subject.tweets.read([4, 3, 2, 1])
    assert list(values) == [encode_lease("a"), DELETED, None, encode_entry(1, b"one")]
    assert subject.local.missing([1, 2, 3, 4]) == [2, 4]


async def test_changed_tweets_leave_the_local_cache(subject: Subject) -> None:
    """After any later answer of Redis the local cache does not have what was changed before."""
    for tweet_id in (1, 2, 3):
        subject.keyspace.apply_tweet(tweet_id, encode_entry(1, b"old"))
    await subject.tweets.read([1, 2, 3])
    subject.keyspace.apply_tweet(1, encode_entry(2, b"new"))
    subject.keyspace.remove_tweet(2)
    await subject.lists.heads([(HOME, 1)])
    assert subject.local.missing([1, 2, 3]) == [1, 2]


async def test_a_fill_lease_is_taken_of_absent_tweets_only(subject: Subject) -> None:
    """Only one reader gets the lease, and learns what had been applied to the shards."""
    subject.keyspace.apply_tweet(1, encode_entry(1, b"one"))
    leased = await subject.tweets.take_fill_leases([1, 2], "a")
    assert (leased.taken, leased.applied) == ([2], Moment(HISTORY, Lsn(100)))
    assert (await subject.tweets.take_fill_leases([2], "b")).taken == []


async def test_a_fill_replaces_the_lease(subject: Subject) -> None:
    """The value of a tweet or of a deletion is stored, and an empty one gives the lease up."""
    await subject.tweets.take_fill_leases([1, 2, 3], "a")
    await subject.tweets.fill({1: encode_entry(1, b"one"), 2: DELETED, 3: b""}, "a")
    assert [subject.keyspace.value(id_) for id_ in (1, 2, 3)] == [
        encode_entry(1, b"one"),
        DELETED,
        None,
    ]


@pytest.mark.parametrize("applied", [encode_entry(2, b"new"), DELETED, None])
async def test_a_fill_loses_to_what_was_applied(subject: Subject, applied: bytes | None) -> None:
    """What the fan-out stores or removes takes the lease away."""
    await subject.tweets.take_fill_leases([1], "a")
    if applied is None:
        subject.keyspace.remove_tweet(1)
    else:
        subject.keyspace.apply_tweet(1, applied)
    await subject.tweets.fill({1: encode_entry(1, b"old")}, "a")
    assert subject.keyspace.value(1) == applied


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([encode_entry(1, b"a"), encode_entry(2, b"b")], encode_entry(2, b"b")),
        ([encode_entry(2, b"b"), encode_entry(1, b"a")], encode_entry(2, b"b")),
        ([encode_entry(9, b"a"), encode_entry(10, b"b")], encode_entry(10, b"b")),
        ([encode_entry(1, b"a"), encode_entry(1, b"b")], encode_entry(1, b"a")),
        ([encode_entry(1, b"a"), DELETED], DELETED),
        ([DELETED, encode_entry(9, b"a")], DELETED),
    ],
)
async def test_a_version_never_goes_back(
    subject: Subject, values: Sequence[bytes], kept: bytes
) -> None:
    """A newer version replaces an older one, and a deletion is the newest of all."""
    for value in values:
        subject.keyspace.apply_tweet(1, value)
    assert list(await subject.tweets.read([1])) == [kept]
