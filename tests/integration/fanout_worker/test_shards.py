"""The contract of TimelineShards, for Valkey and for the fake."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from helpers.fakes.worker_data import Data, FakeData, ValkeyData
from helpers.fakes.worker_redis import FakeRedis, FakeShards
from helpers.fakes.worker_rounds import (
    END,
    HISTORY,
    LENGTH,
    P0,
    P3,
    START,
    checkpoint_rows,
    last_rounds,
)
from helpers.fanfare import Fanfare

from core.feed.checkpoints import Checkpoint
from core.feed.history import Lsn
from core.feed.sharding import SHARDS, Partition, Shard
from core.feed.timeline_lists import SEPARATOR, TRIM_SLACK, TimelineList, author_list, home_list
from core.storage.resp import pack
from fanout_worker import shards as worker_shards
from fanout_worker.checkpoints import CheckpointMismatch
from fanout_worker.chunks import ALL_SHARDS, Chunk, Commands, PushedLists, Round
from fanout_worker.commands import TweetCacheCommands, dropped_lists, unlink
from fanout_worker.protocols import TimelineShards
from fanout_worker.records import Record
from fanout_worker.shards import RedisShards


@dataclass
class Case:
    """The shards of one server, as two workers use them."""

    shards: TimelineShards
    other: TimelineShards
    data: Data

    def cache(self, list_: TimelineList, *ids: int) -> str:
        """Store a list with these ids; return its key."""
        key = self.shards.keys.for_list(list_)
        self.data.make_list(key, [SEPARATOR, *(b"%d" % id_ for id_ in ids), b"0"])
        return key

    def create_checkpoints(self, *partitions: Partition) -> None:
        """Create the checkpoints of partitions at START."""
        for shard, partition in itertools.product(ALL_SHARDS, partitions):
            self.shards.create_checkpoint(shard, partition, START)

    def apply(
        self,
        rounds: Iterable[Round],
        before: dict[Partition, list[Checkpoint]],
        after: dict[Partition, list[Checkpoint]],
    ) -> None:
        """Apply rounds and wait for them; whether a mismatch is found by the wait is not said."""
        self.shards.apply(rounds, before, after)
        self.shards.settle()

    def stored(self, partition: Partition) -> set[Checkpoint | None]:
        """Return the distinct checkpoints of a partition."""
        return set(self.shards.read_checkpoints([partition])[partition])


@pytest.fixture(params=["valkey", "valkey, large rounds", "fake"])
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """Return a case for each kind of server, with keys of its own."""
    if request.param == "valkey, large rounds":
        monkeypatch.setattr(worker_shards, "MAX_COMMANDS", -1)
    prefix = f"contract-{uuid.uuid4().hex}:"
    if request.param == "fake":
        fake = FakeRedis()
        shards, other = FakeShards(fake, prefix, LENGTH), FakeShards(fake, prefix, LENGTH)
        shards.enter_history(HISTORY)
        other.enter_history(HISTORY)
        yield Case(shards, other, FakeData(fake))
        return
    fanfare: Fanfare = request.getfixturevalue("fanfare")
    settings = fanfare.settings
    real, second = (
        RedisShards(settings.redis_address(), prefix, LENGTH, settings.silence_seconds)
        for _ in range(2)
    )
    real.enter_history(HISTORY)
    second.enter_history(HISTORY)
    yield Case(real, second, ValkeyData(fanfare.redis))
    real.remove_histories([HISTORY, "ended"])
    real.close()
    second.close()


def _push(key: str, ids: Iterable[int]) -> Commands:
    start, _, user_id = key.encode().rpartition(b":")
    packed = [b"%d" % id_ for id_ in ids]
    return Commands(
        pack(b"LPUSHX", key.encode(), *packed),
        ids=len(packed),
        pushed=PushedLists(start + b":", [int(user_id)]),
    )


def _part(command: Commands) -> Chunk:
    """Return a chunk that is not the last, with one push."""
    assert command.pushed is not None
    return Chunk([command.packed], 1, [command.pushed], is_last=False)


class TestTimelineShards:
    """What every TimelineShards must do."""

    def test_absent_checkpoints_are_none(self, case: Case) -> None:
        """Every shard and partition is in the answer."""
        assert case.shards.read_checkpoints([P3, P0]) == {P3: [None] * 16, P0: [None] * 16}

    def test_a_checkpoint_is_created_once(self, case: Case) -> None:
        """An existing checkpoint stays as it is."""
        case.shards.create_checkpoint(Shard(5), P3, START)
        case.other.create_checkpoint(Shard(5), P3, END)
        row = case.shards.read_checkpoints([P3])[P3]
        assert row == [START if shard == 5 else None for shard in ALL_SHARDS]
        assert case.stored(P0) == {None}

    def test_only_the_expected_checkpoint_is_removed(self, case: Case) -> None:
        """Another worker may have moved it meanwhile."""
        case.create_checkpoints(P0)
        case.shards.remove_checkpoint(Shard(5), P0, END)
        assert case.stored(P0) == {START}
        case.shards.remove_checkpoint(Shard(5), P0, START)
        row = case.shards.read_checkpoints([P0])[P0]
        assert row == [None if shard == 5 else START for shard in ALL_SHARDS]

    def test_a_round_moves_checkpoints_and_lists_together(self, case: Case) -> None:
        """Pushes reach lists that exist; others are not created."""
        case.create_checkpoints(P0, P3)
        key = case.cache(home_list(21), 7)
        absent = case.shards.keys.for_list(home_list(37))
        rounds = last_rounds({5: [_push(key, [8, 9]), _push(absent, [8])]})
        case.shards.apply(rounds, checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.shards.settle()
        assert (case.stored(P0), case.stored(P3)) == ({END}, {START})
        assert case.data.elements(key) == [b"9", b"8", b"=", b"7", b"0"]
        assert case.data.elements(absent) == []

    def test_a_chunk_that_is_not_the_last_stores_only_lsns(self, case: Case) -> None:
        """If the rest fails, the records are applied again from the old offset."""
        case.create_checkpoints(P0)
        key = case.cache(home_list(21))

        def fail_after_a_part() -> Iterator[Round]:
            yield {Shard(5): _part(_push(key, [8]))}
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            case.shards.apply(
                fail_after_a_part(), checkpoint_rows(START, P0), checkpoint_rows(END, P0)
            )
        case.shards.settle()
        row = case.shards.read_checkpoints([P0])[P0]
        within = row[5]
        assert within is not None
        assert within.chunk_id
        assert replace(within, chunk_id="") == replace(START, lsn=END.lsn)
        assert row == [within if shard == 5 else START for shard in ALL_SHARDS]
        assert case.data.elements(key) == [b"8", b"=", b"0"]

    def test_a_worker_does_not_go_on_in_the_middle_of_anothers_batch(self, case: Case) -> None:
        """What the other one has applied may have expired, and nothing else shows that it did."""
        case.create_checkpoints(P0)
        key = case.cache(home_list(21))
        end = replace(END, lsn=START.lsn)

        def parts(*ids: int) -> list[Round]:
            return [{Shard(5): _part(_push(key, [id_]))} for id_ in ids]

        def be_overtaken() -> Iterator[Round]:
            yield from parts(8)
            case.shards.settle()
            (now,) = case.stored(P0) - {START}
            assert now is not None
            rows = {P0: [now if shard == 5 else START for shard in ALL_SHARDS]}
            case.other.apply(parts(8, 9), rows, checkpoint_rows(end, P0))
            case.other.settle()
            yield from parts(9)

        with pytest.raises(CheckpointMismatch):
            case.apply(be_overtaken(), checkpoint_rows(START, P0), checkpoint_rows(end, P0))
        assert case.data.elements(key) == [b"9", b"8", b"8", b"=", b"0"]

    def test_several_rounds_follow_one_another(self, case: Case) -> None:
        """The second round expects what the first one stored."""
        case.create_checkpoints(P0)
        key = case.cache(home_list(21))
        rounds: list[Round] = [
            {Shard(5): _part(_push(key, [8]))},
            *last_rounds({5: [_push(key, [9])]}),
        ]
        case.shards.apply(rounds, checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.shards.settle()
        assert case.stored(P0) == {END}
        assert case.data.elements(key) == [b"9", b"8", b"=", b"0"]

    def test_an_unexpected_checkpoint_refuses_the_round(self, case: Case) -> None:
        """A worker that was paused while another one went on has no effect at all."""
        case.create_checkpoints(P0, P3)
        key = case.cache(home_list(21))
        case.other.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.other.settle()
        rounds = last_rounds({5: [_push(key, [8])]})
        with pytest.raises(CheckpointMismatch):
            case.apply(rounds, checkpoint_rows(START, P0, P3), checkpoint_rows(END, P0, P3))
        assert (case.stored(P0), case.stored(P3)) == ({END}, {START})
        assert case.data.elements(key) == [b"=", b"0"]

    def test_a_batch_of_another_worker_between_two_batches_is_noticed(self, case: Case) -> None:
        """However long ago this worker read the checkpoints, and whatever it expects next."""
        case.create_checkpoints(P0, P3)
        key = case.cache(home_list(21))
        case.stored(P0)
        case.shards.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.shards.settle()
        case.other.apply(last_rounds({}), checkpoint_rows(END, P0), checkpoint_rows(START, P0))
        case.other.settle()
        with pytest.raises(CheckpointMismatch):
            case.apply(
                last_rounds({5: [_push(key, [8])]}),
                checkpoint_rows(END, P0),
                checkpoint_rows(START, P0),
            )
        assert (case.stored(P0), case.data.elements(key)) == ({START}, [b"=", b"0"])

    def test_small_and_large_rounds_alternate(self, case: Case) -> None:
        """They are sent in different ways, and none takes another for a write of another worker."""
        case.create_checkpoints(P0)
        key = case.cache(home_list(21))
        large = [*range(10**17, 10**17 + 25_000)]
        before = START
        for number, ids in enumerate(([1], large, [2], large, large, [3], [4]), 1):
            after = replace(START, offset=number)
            rounds = last_rounds({5: [_push(key, ids)]})
            case.shards.apply(rounds, checkpoint_rows(before, P0), checkpoint_rows(after, P0))
            before = after
        case.shards.settle()
        assert case.stored(P0) == {after}
        assert case.data.elements(key)[:3] == [b"4", b"3", b"%d" % large[-1]]

    def test_shards_are_usable_after_a_mismatch(self, case: Case) -> None:
        """The worker loads the checkpoints and goes on, on the same connections."""
        case.create_checkpoints(P0)
        with pytest.raises(CheckpointMismatch):
            case.shards.apply(last_rounds({}), checkpoint_rows(END, P0), checkpoint_rows(END, P0))
        case.shards.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.shards.settle()
        assert case.stored(P0) == {END}

    def test_an_absent_checkpoint_refuses_the_round(self, case: Case) -> None:
        """Redis was emptied."""
        with pytest.raises(CheckpointMismatch):
            case.shards.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        assert case.stored(P0) == {None}

    def test_a_list_beyond_its_limit_is_trimmed(self, case: Case) -> None:
        """A list that nobody reads must not grow for ever."""
        case.create_checkpoints(P0)
        key = case.cache(home_list(21))
        longest = LENGTH + TRIM_SLACK
        rounds = last_rounds({5: [_push(key, range(1, longest + 2))]})
        case.shards.apply(rounds, checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.shards.settle()
        case.shards.read_checkpoints([P0])  # on the same connection, behind the trim
        elements = case.data.elements(key)
        assert len(elements) == longest
        assert elements[0] == b"%d" % (longest + 1)

    def test_newer_tweets_replace_older_ones(self, case: Case) -> None:
        """A creation sets an absent entry, an update only a newer version, a deletion any."""
        case.create_checkpoints(P0)
        key = case.shards.keys.tweet(37)
        newer = pb.TweetUpdated(tweet=Tweet(id=37, user_id=1, content="newer"), version=3)
        older = pb.TweetUpdated(tweet=Tweet(id=37, user_id=1, content="older"), version=2)
        first = pb.TweetCreated(tweet=Tweet(id=37, user_id=1, content="first"))
        deleted = pb.TweetDeleted(tweet_id=37, user_id=1)
        expected = before = START
        for event, version in (
            (pb.FeedEvent(tweet_created=first), b"1:"),
            (pb.FeedEvent(tweet_updated=newer), b"3:"),
            (pb.FeedEvent(tweet_updated=older), b"3:"),
            (pb.FeedEvent(tweet_created=first), b"3:"),
            (pb.FeedEvent(tweet_deleted=deleted), b"D"),
            (pb.FeedEvent(tweet_updated=newer), b"D"),
        ):
            cached = TweetCacheCommands(case.shards.keys, 60).pack(Record.of(0, event))
            before, expected = expected, Checkpoint(expected.offset + 1, Lsn(10), 1, "topic")
            rounds = last_rounds({5: [Commands(cached)]})
            case.shards.apply(rounds, checkpoint_rows(before, P0), checkpoint_rows(expected, P0))
            case.shards.settle()
            assert (case.data.get(key) or b"").startswith(version)

    def test_a_fill_lease_gives_way_to_an_update(self, case: Case) -> None:
        """The reader that holds the lease may have read an older version."""
        case.create_checkpoints(P0)
        key = case.shards.keys.tweet(37)
        case.data.set(key, b"Llease")
        change = pb.TweetUpdated(tweet=Tweet(id=37, user_id=1), version=2)
        record = Record.of(0, pb.FeedEvent(tweet_updated=change))
        cached = TweetCacheCommands(case.shards.keys, 60).pack(record)
        case.shards.apply(
            last_rounds({5: [Commands(cached)]}),
            checkpoint_rows(START, P0),
            checkpoint_rows(END, P0),
        )
        case.shards.settle()
        assert (case.data.get(key) or b"").startswith(b"2:")

    def test_lists_are_dropped_in_the_transaction(self, case: Case) -> None:
        """If a drop comes before a push, there is no list to push to."""
        case.create_checkpoints(P0)
        key = case.cache(home_list(21), 7)
        follow = pb.FeedEvent(user_followed=pb.UserFollowed(follower_id=21, followed_id=1))
        (dropped,) = dropped_lists([Record.of(0, follow)])
        drop = Commands(unlink(case.shards.keys.for_list(dropped).encode()))
        rounds = last_rounds({5: [drop, _push(key, [8])]})
        case.shards.apply(rounds, checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.shards.settle()
        assert case.data.elements(key) == []

    def test_dropping_caches_keeps_checkpoints(self, case: Case) -> None:
        """Both kinds of lists and the tweet cache go."""
        case.create_checkpoints(P0)
        keys = [case.cache(home_list(21), 7), case.cache(author_list(21), 7)]
        tweet = case.shards.keys.tweet(37)
        case.data.set(tweet, b"D")
        case.shards.drop_caches()
        assert [case.data.elements(key) for key in keys] == [[], []]
        assert case.data.get(tweet) is None
        assert case.stored(P0) == {START}

    def test_other_histories_are_apart(self, case: Case) -> None:
        """A worker sees and drops only keys of the history that it has entered."""
        key = case.cache(home_list(21), 7)
        case.create_checkpoints(P0)
        case.shards.enter_history("ended")
        assert case.stored(P0) == {None}
        case.shards.drop_caches()
        case.create_checkpoints(P0)
        assert case.shards.remove_histories(["ended", "unknown"]) == SHARDS
        assert case.stored(P0) == {None}
        case.shards.enter_history(HISTORY)
        assert case.stored(P0) == {START}
        assert case.data.elements(key) == [b"=", b"7", b"0"]

    def test_closing_forgets_the_round_under_way(self, case: Case) -> None:
        """It takes effect or not; the worker loads the checkpoints in either case."""
        case.create_checkpoints(P0)
        case.shards.apply(last_rounds({}), checkpoint_rows(START, P0), checkpoint_rows(END, P0))
        case.shards.close()
        case.shards.settle()
        assert case.stored(P0) in ({START}, {END}, {START, END})
