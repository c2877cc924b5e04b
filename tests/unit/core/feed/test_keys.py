"""The keys in Redis, whose bytes other versions of Fanfare depend on."""

from __future__ import annotations

from fnmatch import fnmatch

from core.feed.keys import Keys
from core.feed.sharding import Partition, Shard
from core.feed.timeline_lists import ListKind, author_list, home_list

KEYS = Keys.of("fanfare:", "0123456789")


def test_keys_have_a_fixed_form() -> None:
    """A key is prefix, history, shard as hash tag, kind and id."""
    assert KEYS.for_list(home_list(35)) == "fanfare:0123456789:{3}:timeline:35"
    assert KEYS.for_list(author_list(35)) == "fanfare:0123456789:{3}:author:35"
    assert KEYS.tweet(20) == "fanfare:0123456789:{4}:tweet:20"
    assert KEYS.checkpoint(Shard(15), Partition(11)) == "fanfare:0123456789:{15}:progress:11"


def test_the_keys_of_many_lists_are_those_of_each() -> None:
    """lists_start() and for_list() agree, for both kinds of lists."""
    home = KEYS.lists_start(ListKind.HOME, Shard(3))
    author = KEYS.lists_start(ListKind.AUTHOR, Shard(3))
    for user in (3, 19, 35):
        assert home + b"%d" % user == KEYS.for_list(home_list(user)).encode()
        assert author + b"%d" % user == KEYS.for_list(author_list(user)).encode()


def test_a_shard_has_a_checkpoint_for_each_partition() -> None:
    """The keys are in the order of the partitions."""
    keys = KEYS.checkpoints(Shard(2))
    assert keys == [KEYS.checkpoint(Shard(2), Partition(number)) for number in range(12)]


def test_each_pattern_matches_its_keys_only() -> None:
    """Removing keys by pattern never removes a checkpoint."""
    keys = [
        KEYS.for_list(home_list(7)),
        KEYS.for_list(author_list(7)),
        KEYS.tweet(7),
        KEYS.checkpoint(Shard(7), Partition(0)),
    ]
    patterns = [KEYS.home_lists_pattern, KEYS.author_lists_pattern, KEYS.tweets_pattern]
    for wanted, pattern in zip(keys, patterns, strict=False):
        assert [key for key in keys if fnmatch(key, pattern)] == [wanted]
