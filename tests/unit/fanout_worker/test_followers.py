"""The follower index: reads an author once, then applies events, and respects its limit."""

from __future__ import annotations

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from helpers.fakes.worker_postgres import HISTORY, FakeFollowerStore

from core.feed.history import Lsn, Moment
from core.feed.sharding import Partition
from fanout_worker.followers import FollowerIndex
from fanout_worker.records import Record


def _at(lsn: int) -> Moment:
    return Moment(HISTORY, Lsn(lsn))


def _follow(offset: int, follower: int, *, follows: bool) -> Record:
    edge = {"follower_id": follower, "followed_id": 1}
    if follows:
        return Record.of(offset, pb.FeedEvent(user_followed=pb.UserFollowed(**edge)))
    return Record.of(offset, pb.FeedEvent(user_unfollowed=pb.UserUnfollowed(**edge)))


def _tweet(offset: int, author: int = 1) -> Record:
    created = pb.TweetCreated(tweet=Tweet(id=100 + offset, user_id=author))
    return Record.of(offset, pb.FeedEvent(tweet_created=created))


def _after(
    index: FollowerIndex, records: dict[int, list[Record]], moment: Moment
) -> dict[int, list[int]]:
    batch = {Partition(number): of_partition for number, of_partition in records.items()}
    return {
        author: sorted(int(id_) for page in pages for id_ in page)
        for author, pages in index.followers_after(batch, moment).items()
    }


def test_followers_are_read_once_and_then_changed_by_events() -> None:
    """Follows and unfollows of a batch count before its tweets; the last of an edge decides."""
    store = FakeFollowerStore({1: [7, 8]})
    index = FollowerIndex(store, 1000)
    assert _after(index, {0: [_tweet(0)]}, _at(5)) == {1: [7, 8]}
    batch = [_tweet(1), _follow(2, 9, follows=True), _follow(3, 7, follows=False)]
    assert _after(index, {0: batch}, _at(6)) == {1: [8, 9]}
    back = [_follow(4, 9, follows=False), _follow(5, 9, follows=True), _tweet(6)]
    assert _after(index, {0: back}, _at(7)) == {1: [8, 9]}
    assert store.reads == [([1], _at(5))]
    index.drop(Partition(0))
    _after(index, {0: [_tweet(7)]}, _at(8))
    assert store.reads[1:] == [([1], _at(8))]


def test_a_follow_that_postgres_has_already_counts_once() -> None:
    """Followers may be read later than the batch; its events are then applied a second time."""
    index = FollowerIndex(FakeFollowerStore({1: [7, 9]}), 1000)
    batch = [_tweet(0), _follow(1, 9, follows=True), _follow(2, 8, follows=False)]
    assert _after(index, {0: batch}, _at(5)) == {1: [7, 9]}


def test_all_unknown_authors_of_a_batch_are_read_together() -> None:
    """There is one query to Postgres, however many partitions the batch has."""
    store = FakeFollowerStore({1: [7], 2: [8]})
    batch = {0: [_tweet(0)], 3: [_tweet(0, 2), _tweet(1, 5)]}
    assert _after(FollowerIndex(store, 1000), batch, _at(5)) == {1: [7], 2: [8], 5: []}
    assert store.reads == [([1, 2, 5], _at(5))]


def test_the_index_drops_authors_rather_than_exceed_its_limit() -> None:
    """Authors that the batch does not need make room, and are read again when needed."""
    store = FakeFollowerStore({author: [author * 10, author * 10 + 1] for author in range(1, 6)})
    index = FollowerIndex(store, 5)
    for author in range(1, 6):
        assert _after(index, {0: [_tweet(0, author)]}, _at(5)) == {
            author: store.followers_of[author]
        }
        assert index.size <= 5
    _after(index, {0: [_tweet(0, 5)]}, _at(6))
    assert len(store.reads) == 5
    _after(index, {0: [_tweet(0, 1)]}, _at(7))
    assert store.reads[5:] == [([1], _at(7))]


def test_an_author_with_too_many_followers_is_read_in_pages() -> None:
    """Each batch reads the pages at its own LSN, which has the batch's follows and unfollows."""
    store = FakeFollowerStore({1: [7, 8, 9, 10], 2: [11]})
    index = FollowerIndex(store, 3)
    assert _after(index, {0: [_tweet(0), _tweet(1, 2)]}, _at(5)) == {1: [7, 8, 9, 10], 2: [11]}
    store.followers_of[1].append(12)
    batch = [_follow(2, 12, follows=True), _tweet(3)]
    assert _after(index, {0: batch}, _at(6)) == {1: [7, 8, 9, 10, 12]}
    assert store.paged_reads == [(1, _at(5)), (1, _at(6))]
    assert store.reads == [([1, 2], _at(5))]
