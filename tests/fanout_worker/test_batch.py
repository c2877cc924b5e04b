"""A batch of events as commands for Redis."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from core.bodies import body_key
from core.shards import shard_of
from core.timeline import author_list, home_list
from fanout_worker.batch import commands_by_shard
from fanout_worker.records import Record


def _created(offset: int, tweet_id: int, author: int, **how: bool) -> Record:
    tweet = Tweet(id=tweet_id, user_id=author)
    return Record(offset, pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet, **how)))


@given(
    followers=st.dictionaries(st.integers(1, 6), st.sets(st.integers(1, 40)), min_size=1),
    tweets=st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=30),
)
def test_every_list_gets_every_tweet_of_its_own_once(
    followers: dict[int, set[int]], tweets: list[tuple[int, bool]]
) -> None:
    """Transposition neither loses, doubles nor misdirects a delivery, and pushes once a list.

    The author's list gets every tweet, the followers' only those that are not pulled.
    """
    arrays = {n: np.array(sorted(followers.get(n, set())), np.int64) for n in range(1, 7)}
    records = [
        _created(n, 1000 + n, author, pulled=pulled) for n, (author, pulled) in enumerate(tweets)
    ]
    delivered: dict[str, list[int]] = defaultdict(list)
    commands = commands_by_shard(records, arrays, 60)
    for shard, part in enumerate(commands):
        for name, key, *arguments in part:
            assert f"{{{shard}}}:" in str(key)
            if name == "LPUSHX":
                assert str(key) not in delivered
                delivered[str(key)] = [int(id_) for id_ in arguments]
    expected: dict[str, list[int]] = defaultdict(list)
    for n, (author, pulled) in enumerate(tweets):
        expected[author_list(author).key].append(1000 + n)
        for follower in followers.get(author, set()):
            if not pulled:
                expected[home_list(follower).key].append(1000 + n)
    assert {key: sorted(ids) for key, ids in delivered.items()} == expected


def test_a_crossing_drops_the_followers_lists() -> None:
    """Those lists do not name the author among the pulled ones; the author's own stays."""
    crossing = _created(0, 50, 3, pulled=True, became_pulled=True)
    commands = commands_by_shard([crossing], {3: np.array([17, 18], np.int64)}, 60)
    dropped = {command[1] for part in commands for command in part if command[0] == "UNLINK"}
    assert dropped == {home_list(17).key, home_list(18).key}


def test_a_follow_drops_the_followers_list_before_the_pushes() -> None:
    """The list that is dropped belongs to the follower, in the follower's shard."""
    follow = pb.FeedEvent(user_followed=pb.UserFollowed(follower_id=17, followed_id=3))
    commands = commands_by_shard(
        [Record(0, follow), _created(1, 50, 3)], {3: np.array([17], np.int64)}, 60
    )
    names = [command[0] for command in commands[shard_of(17)] if command[1] == home_list(17).key]
    assert names == ["UNLINK", "LPUSHX"]


def test_a_deletion_leaves_a_tombstone() -> None:
    """The deleted tweet's body says so, in the tweet's shard."""
    event = pb.FeedEvent(tweet_deleted=pb.TweetDeleted(tweet_id=35, user_id=3))
    commands = commands_by_shard([Record(0, event)], {}, 60)
    (command,) = commands[shard_of(35)]
    assert command[3:5] == (body_key(35), b"D")
