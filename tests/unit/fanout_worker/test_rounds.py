"""How a batch of records becomes rounds of Redis transactions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import hiredis
import numpy as np
import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from core.feed.keys import Keys
from core.feed.sharding import Shard, shard_of
from core.feed.timeline_lists import author_list, home_list
from fanout_worker import chunks, pushes, rounds
from fanout_worker.chunks import ALL_SHARDS, Chunk
from fanout_worker.followers import FollowerPages
from fanout_worker.records import Record
from fanout_worker.rounds import make_rounds

Command = list[bytes]


def _created(offset: int, tweet_id: int, author: int, **how: bool) -> Record:
    tweet = Tweet(id=tweet_id, user_id=author)
    return Record.of(offset, pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet, **how)))


KEYS = Keys.of("fanfare:", "0123456789")


def _array(ids: Iterable[int]) -> FollowerPages:
    return (np.array(sorted(ids), np.int64),)


def _unpacked(chunk: Chunk) -> list[Command]:
    """Return a chunk's commands as Redis reads them; packed commands look like packed replies."""
    reader = hiredis.Reader()
    reader.feed(b"".join(chunk.packed))
    commands: list[Command] = [reader.gets() for _ in range(chunk.commands)]
    assert reader.gets() is False
    keys = [pushed.key(index) for pushed in chunk.pushed for index in range(len(pushed.user_ids))]
    assert [command[1] for command in commands[chunk.commands - len(keys) :]] == keys
    return commands


def _pushes(chunk: Chunk) -> list[Command]:
    return [command for command in _unpacked(chunk) if command[0] == b"LPUSHX"]


def _commands(
    records: Sequence[Record],
    followers: Mapping[int, FollowerPages],
    shards: Sequence[Shard] = ALL_SHARDS,
) -> dict[Shard, list[Command]]:
    """Return the commands of all rounds by shard."""
    found: dict[Shard, list[Command]] = defaultdict(list)
    ended = set()
    for round_ in make_rounds(records, followers, KEYS, 60, shards):
        for shard, chunk in round_.items():
            assert shard not in ended
            found[shard] += _unpacked(chunk)
            if chunk.is_last:
                ended.add(shard)
    assert ended == set(shards)
    return found


# Some of them have their lists in one shard.
AUTHORS = [1, 2, 3, 17, 18, 33]


@given(
    followers=st.dictionaries(st.sampled_from(AUTHORS), st.sets(st.integers(1, 40)), min_size=1),
    tweets=st.lists(st.tuples(st.sampled_from(AUTHORS), st.booleans()), max_size=30),
)
def test_every_list_gets_every_tweet_of_its_own_once(
    followers: dict[int, set[int]], tweets: list[tuple[int, bool]]
) -> None:
    """No delivery is lost, doubled or misdirected, and each list gets a single push.

    The author's list gets every tweet; the followers' lists get only tweets that are not pulled.
    """
    arrays = {n: _array(followers.get(n, ())) for n in AUTHORS}
    records = [
        _created(n, 1000 + n, author, pulled=pulled) for n, (author, pulled) in enumerate(tweets)
    ]
    delivered: dict[str, list[int]] = defaultdict(list)
    for shard, commands in _commands(records, arrays).items():
        for name, key, *arguments in commands:
            assert key.startswith(b"fanfare:0123456789:{%d}:" % shard)
            if name == b"LPUSHX":
                assert key.decode() not in delivered
                delivered[key.decode()] = [int(id_) for id_ in arguments]
    expected: dict[str, list[int]] = defaultdict(list)
    for n, (author, pulled) in enumerate(tweets):
        expected[KEYS.for_list(author_list(author))].append(1000 + n)
        for follower in followers.get(author, set()):
            if not pulled:
                expected[KEYS.for_list(home_list(follower))].append(1000 + n)
    assert {key: sorted(ids) for key, ids in delivered.items()} == expected


def test_a_large_batch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks respect the limits of commands and ids, and together have every delivery."""
    monkeypatch.setattr(chunks, "MAX_COMMANDS", 3)
    monkeypatch.setattr(chunks, "MAX_IDS", 6)
    monkeypatch.setattr(chunks, "PIECE_COMMANDS", 2)
    monkeypatch.setattr(pushes, "PIECE_PUSHES", 2)
    monkeypatch.setattr(pushes, "PIECE_IDS", 5)
    monkeypatch.setattr(rounds, "MAX_PAIRS", 50)
    crowd = np.arange(1, 200)
    pages = {3: (crowd[:90], crowd[90:]), 4: _array(range(1, 200, 3))}
    records = [_created(n, 1000 + n, 3 + n % 2) for n in range(5)]
    made = [chunk for round_ in make_rounds(records, pages, KEYS, 60) for chunk in round_.values()]
    assert max(chunk.commands for chunk in made) == 3
    assert max(sum(len(command) - 2 for command in pushes) for pushes in map(_pushes, made)) == 6
    delivered: dict[bytes, list[int]] = defaultdict(list)
    for commands in _commands(records, pages).values():
        for name, key, *ids in commands:
            if name == b"LPUSHX":
                delivered[key] += map(int, ids)
    for reader in crowd.tolist():
        expected = [1000, 1002, 1004, *((1001, 1003) if reader % 3 == 1 else ())]
        assert sorted(delivered[KEYS.for_list(home_list(reader)).encode()]) == sorted(expected)


def test_only_the_shards_that_need_it_get_a_batch() -> None:
    """After a failure in the middle of a batch, some shards have the batch already."""
    commands = _commands([_created(0, 50, 3)], {3: _array(range(1, 40))}, [Shard(2), Shard(5)])
    assert commands.keys() == {2, 5}


def test_a_batch_without_commands_moves_every_checkpoint() -> None:
    """Records that do not count are passed in one round with an empty chunk for every shard."""
    (round_,) = make_rounds((), {}, KEYS, 60)
    assert round_ == dict.fromkeys(ALL_SHARDS, Chunk([], 0, [], is_last=True))


def test_a_crossing_drops_the_followers_lists() -> None:
    """Lists built before do not name the author as pulled; the author's own list stays."""
    crossing = _created(0, 50, 3, pulled=True, became_pulled=True)
    commands = _commands([crossing], {3: _array([17, 18])})
    dropped = {
        c[1].decode() for of_shard in commands.values() for c in of_shard if c[0] == b"UNLINK"
    }
    assert dropped == {KEYS.for_list(home_list(17)), KEYS.for_list(home_list(18))}


def test_a_follow_drops_the_followers_list_before_the_pushes() -> None:
    """The follower's list is dropped, and a push after it finds no list to push to."""
    follow = pb.FeedEvent(user_followed=pb.UserFollowed(follower_id=17, followed_id=3))
    commands = _commands([Record.of(0, follow), _created(1, 50, 3)], {3: _array([17])})
    key = KEYS.for_list(home_list(17)).encode()
    assert [c[0] for c in commands[shard_of(17)] if c[1] == key] == [b"UNLINK", b"LPUSHX"]


@given(st.lists(st.tuples(st.integers(1, 10**18), st.text(), st.booleans()), max_size=300))
def test_every_new_tweet_is_cached_as_its_event_has_it(tweets: list[tuple[int, str, bool]]) -> None:
    """The commands that are packed by hand are those that Redis expects, in the records' order."""
    expected: dict[Shard, list[Command]] = defaultdict(list)
    records = []
    for offset, (id_, content, is_replayed) in enumerate(tweets):
        tweet = Tweet(id=id_, user_id=3, content=content)
        event = pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet, pulled=True))
        records.append(Record.of(offset, event, is_replayed=is_replayed))
        key, value = KEYS.tweet(id_).encode(), b"1:" + tweet.SerializeToString()
        expected[shard_of(id_)].append(
            [b"UNLINK", key] if is_replayed else [b"SET", key, value, b"NX", b"EX", b"60"]
        )
    for shard, commands in _commands(records, {3: ()}).items():
        cached = [command for command in commands if b":tweet:" in command[1]]
        assert cached == expected[shard]


def test_a_deletion_leaves_a_tombstone() -> None:
    """The tweet cache entry says that the tweet is deleted, in the tweet's shard."""
    event = pb.FeedEvent(tweet_deleted=pb.TweetDeleted(tweet_id=35, user_id=3))
    (command,) = _commands([Record.of(0, event)], {})[shard_of(35)]
    assert command[3:5] == [KEYS.tweet(35).encode(), b"D"]
