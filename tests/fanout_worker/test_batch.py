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
from core.timeline import timeline_key
from fanout_worker.batch import commands_by_shard
from fanout_worker.records import Record


def _created(offset: int, tweet_id: int, author: int) -> Record:
    tweet = Tweet(id=tweet_id, user_id=author)
    return Record(offset, pb.FeedEvent(tweet_created=pb.TweetCreated(tweet=tweet)))


@given(
    followers=st.dictionaries(st.integers(1, 6), st.sets(st.integers(1, 40)), min_size=1),
    authors=st.lists(st.integers(1, 6), max_size=30),
)
def test_every_follower_gets_every_tweet_of_theirs_once(
    followers: dict[int, set[int]], authors: list[int]
) -> None:
    """Transposition neither loses, doubles nor misdirects a delivery, and pushes once a reader."""
    arrays = {n: np.array(sorted(followers.get(n, set())), np.int64) for n in range(1, 7)}
    records = [_created(n, 1000 + n, author) for n, author in enumerate(authors)]
    delivered: dict[str, list[int]] = defaultdict(list)
    commands = commands_by_shard(records, arrays, 60)
    for shard, part in enumerate(commands):
        for name, key, *arguments in part:
            assert f"{{{shard}}}:" in str(key)
            if name == "LPUSHX":
                assert str(key) not in delivered
                delivered[str(key)] = [int(id_) for id_ in arguments]
    expected: dict[str, list[int]] = defaultdict(list)
    for n, author in enumerate(authors):
        for follower in followers.get(author, set()):
            expected[timeline_key(follower)].append(1000 + n)
    assert {key: sorted(ids) for key, ids in delivered.items()} == expected


def test_a_follow_drops_the_followers_list_before_the_pushes() -> None:
    """The list that is dropped belongs to the follower, in the follower's shard."""
    follow = pb.FeedEvent(user_followed=pb.UserFollowed(follower_id=17, followed_id=3))
    commands = commands_by_shard(
        [Record(0, follow), _created(1, 50, 3)], {3: np.array([17], np.int64)}, 60
    )
    names = [command[0] for command in commands[shard_of(17)] if command[1] == timeline_key(17)]
    assert names == ["UNLINK", "LPUSHX"]


def test_a_deletion_leaves_a_tombstone() -> None:
    """The deleted tweet's body says so, in the tweet's shard."""
    event = pb.FeedEvent(tweet_deleted=pb.TweetDeleted(tweet_id=35, user_id=3))
    commands = commands_by_shard([Record(0, event)], {}, 60)
    (command,) = commands[shard_of(35)]
    assert command[3:5] == (body_key(35), b"D")
