"""The bodies kept in process."""

from __future__ import annotations

from core.feed.tweet_cache import DELETED, body, lease
from core.rpc.messages import delimited
from read_service.local_tweet_cache import HotBodies


def test_what_is_kept() -> None:
    """Tweets and deletions are; what is absent, or being filled, is not."""
    hot = HotBodies(10)
    hot.keep([1, 2, 3, 4], [body(7, b"one"), DELETED, None, lease("t")])
    assert hot.unknown([1, 2, 3, 4]) == [3, 4]
    assert hot.known([1, 2, 3]) == {1: delimited(b"one"), 2: None}


def test_a_page_is_whole_or_none() -> None:
    """A page of which a tweet is deleted or not here is not given."""
    hot = HotBodies(10)
    hot.keep([1, 2, 3], [body(1, b"one"), body(1, b"two"), DELETED])
    assert hot.page([2, 1]) == [(2, delimited(b"two")), (1, delimited(b"one"))]
    assert hot.page([]) == []
    assert hot.page([1, 3]) is None
    assert hot.page([1, 4]) is None


def test_what_changed_is_forgotten() -> None:
    """By its key, also one that is not here; of None, all is."""
    hot = HotBodies(10)
    hot.keep([1, 2], [body(1, b"one"), body(1, b"two")])
    hot.forget([b"fanfare:0123456789:{1}:tweet:1", b"fanfare:0123456789:{9}:tweet:9"])
    assert hot.unknown([1, 2]) == [1]
    hot.forget(None)
    assert hot.unknown([1, 2]) == [1, 2]


def test_the_oldest_make_room() -> None:
    """No more than the limit are kept."""
    hot = HotBodies(3)
    hot.keep(range(5), [body(1, b"x")] * 5)
    assert hot.unknown(range(5)) == [0, 1]
