"""The follower arrays that a worker keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from helpers.fanfare import Fanfare

from core.feed.history import Lsn, Moment
from fanout_worker import store
from fanout_worker.followers import FollowerArrays, Followers
from fanout_worker.records import Record
from fanout_worker.store import Store


class _Postgres:
    """Follows, and what was asked about them."""

    def __init__(self, follows: dict[int, list[int]]) -> None:
        self.follows = follows
        self.asked: list[tuple[list[int], Moment]] = []
        self.paged: list[tuple[int, Moment]] = []

    def read(
        self, user_ids: Sequence[int], moment: Moment, limit: int
    ) -> Iterator[tuple[int, Followers]]:
        self.asked.append((list(user_ids), moment))
        for user_id in user_ids:
            yield user_id, np.array(self.follows.get(user_id, [])[: limit + 1], np.int64)

    def pages(self, user_id: int, moment: Moment) -> Iterator[Followers]:
        self.paged.append((user_id, moment))
        for follower in self.follows[user_id]:
            yield np.array([follower], np.int64)

    def arrays(self, limit: int = 1000) -> FollowerArrays:
        return FollowerArrays(self.read, self.pages, limit)


def _at(lsn: int) -> Moment:
    return Moment("0123456789", Lsn(lsn))


def _follow(offset: int, follower: int, *, follows: bool) -> Record:
    edge = {"follower_id": follower, "followed_id": 1}
    if follows:
        return Record.of(offset, pb.FeedEvent(user_followed=pb.UserFollowed(**edge)))
    return Record.of(offset, pb.FeedEvent(user_unfollowed=pb.UserUnfollowed(**edge)))


def _tweet(offset: int, author: int = 1) -> Record:
    created = pb.TweetCreated(tweet=Tweet(id=100 + offset, user_id=author))
    return Record.of(offset, pb.FeedEvent(tweet_created=created))


def _after(
    arrays: FollowerArrays, records: dict[int, list[Record]], moment: Moment
) -> dict[int, list[int]]:
    return {
        author: sorted(int(id_) for page in pages for id_ in page)
        for author, pages in arrays.after(records, moment).items()
    }


def test_an_array_is_read_once_and_then_kept_by_the_events() -> None:
    """Follows and unfollows of a batch count before its tweets; the last one decides."""
    postgres = _Postgres({1: [7, 8]})
    arrays = postgres.arrays()
    assert _after(arrays, {0: [_tweet(0)]}, _at(5)) == {1: [7, 8]}
    batch = [_tweet(1), _follow(2, 9, follows=True), _follow(3, 7, follows=False)]
    assert _after(arrays, {0: batch}, _at(6)) == {1: [8, 9]}
    back = [_follow(4, 9, follows=False), _follow(5, 9, follows=True), _tweet(6)]
    assert _after(arrays, {0: back}, _at(7)) == {1: [8, 9]}
    assert postgres.asked == [([1], _at(5))]
    arrays.drop(0)
    _after(arrays, {0: [_tweet(7)]}, _at(8))
    assert postgres.asked[1:] == [([1], _at(8))]


def test_the_arrays_of_a_batch_are_read_together() -> None:
    """One question to Postgres, however many partitions the batch has."""
    postgres = _Postgres({1: [7], 2: [8]})
    batch = {0: [_tweet(0)], 3: [_tweet(0, 2), _tweet(1, 5)]}
    assert _after(postgres.arrays(), batch, _at(5)) == {1: [7], 2: [8], 5: []}
    assert postgres.asked == [([1, 2, 5], _at(5))]


def test_what_a_batch_does_not_need_gives_way() -> None:
    """All arrays together never hold more ids than they may."""
    postgres = _Postgres({author: [author * 10, author * 10 + 1] for author in range(1, 6)})
    arrays = postgres.arrays(5)
    for author in range(1, 6):
        assert _after(arrays, {0: [_tweet(0, author)]}, _at(5)) == {
            author: postgres.follows[author]
        }
        assert sum(a.size for a in arrays._arrays[0].values() if a is not None) <= 5
    _after(arrays, {0: [_tweet(0, 5)]}, _at(6))
    assert len(postgres.asked) == 5
    _after(arrays, {0: [_tweet(0, 1)]}, _at(7))
    assert postgres.asked[5:] == [([1], _at(7))]


def test_an_author_with_too_many_followers_is_read_in_pages() -> None:
    """Each time at the batch's position, where its follows and unfollows are already in."""
    postgres = _Postgres({1: [7, 8, 9, 10], 2: [11]})
    arrays = postgres.arrays(3)
    assert _after(arrays, {0: [_tweet(0), _tweet(1, 2)]}, _at(5)) == {1: [7, 8, 9, 10], 2: [11]}
    postgres.follows[1].append(12)
    batch = [_follow(2, 12, follows=True), _tweet(3)]
    assert _after(arrays, {0: batch}, _at(6)) == {1: [7, 8, 9, 10, 12]}
    assert postgres.paged == [(1, _at(5)), (1, _at(6))]
    assert postgres.asked == [([1, 2], _at(5))]


def test_postgres_yields_followers_whole_and_in_pages(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole ones up to the limit and one more; the pages together have everybody once."""
    star, nobody = fanfare.user(), fanfare.user()
    crowd = sorted(fanfare.user(star).id for _ in range(7))
    settings = fanfare.settings
    reader = Store(settings.primary_dsn(), settings.replica_dsn(), settings.silence_seconds)
    now, _ = reader.now()
    found = {
        user: sorted(ids.tolist()) for user, ids in reader.followers([star.id, nobody.id], now, 9)
    }
    assert found == {star.id: crowd, nobody.id: []}
    assert [ids.size for _, ids in reader.followers([star.id], now, 5)] == [6]
    monkeypatch.setattr(store, "PAGE", 3)
    pages = [page.tolist() for page in reader.follower_pages(star.id, now)]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(id_ for page in pages for id_ in page) == crowd
    reader.close()
