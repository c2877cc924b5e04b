"""Turns a batch of records into rounds of Redis transactions.

Everything is a lazy iterator, because a batch may have more deliveries than fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from core.feed.keys import Keys
from core.feed.sharding import SHARDS, Shard, shard_of
from core.feed.timeline_lists import ListKind
from core.runtime.metrics import METRICS, Metric
from core.storage.resp import pack_argument
from fanout_worker.chunks import ALL_SHARDS, Commands, Round, cut_into_rounds, join_commands
from fanout_worker.commands import TWEET_KINDS, TweetCacheCommands, dropped_lists, unlink
from fanout_worker.followers import FollowerPages
from fanout_worker.metrics import DELIVERIES
from fanout_worker.protocols import Followers
from fanout_worker.pushes import CommandsOf, PackedIds, push_to_authors, push_to_followers
from fanout_worker.records import Record

# The most pairs of author and follower that are transposed together.
MAX_PAIRS = 1_000_000


def make_rounds(
    records: Sequence[Record],
    followers: Mapping[int, FollowerPages],
    keys: Keys,
    tweet_ttl_seconds: int,
    shards: Iterable[Shard] = ALL_SHARDS,
) -> Iterator[Round]:
    """Yield rounds that apply the records to the shards.

    The tweet cache comes first, so that no list names a tweet before it is cached. Then wrong lists
    are dropped, then tweets are pushed. A replayed record only drops cached data.

    Args:
        records: Records that count for all of these shards.
        followers: The followers as of the last record, by author. Has every author of a tweet that
            is pushed, or that drops the lists of the author's followers.
        keys: The keys of the current history.
        tweet_ttl_seconds: How long a tweet stays in the tweet cache.
        shards: Each of them gets at least one chunk.
    """
    written: dict[int, list[bytes]] = {}
    pushed: dict[int, list[bytes]] = {}
    for record in records:
        if record.kind == "tweet_created" and not record.is_replayed:
            packed_id = pack_argument(b"%d" % record.other_id)
            written.setdefault(record.user_id, []).append(packed_id)
            if not record.pulled:
                pushed.setdefault(record.user_id, []).append(packed_id)
    first = _commands_without_followers(records, written, keys, tweet_ttl_seconds)
    parts = chain(
        _drop_lists_of_followers(records, followers, keys),
        _push_to_followers(pushed, followers, keys),
    )
    part: CommandsOf | None = next(parts, _no_commands)
    while part is not None:
        following = next(parts, None)
        commands = {shard: chain(first[shard], part(shard)) for shard in shards}
        first = [[] for _ in range(SHARDS)]
        yield from cut_into_rounds(commands, is_last=following is None)
        part = following


def _no_commands(_shard: Shard) -> Iterator[Commands]:
    return iter(())


def _commands_without_followers(
    records: Sequence[Record],
    written: Mapping[int, Sequence[bytes]],
    keys: Keys,
    tweet_ttl_seconds: int,
) -> list[list[Commands]]:
    """Return the commands by shard, for everything but the lists of an author's followers.

    Args:
        records: The batch.
        written: New tweet ids by author, each packed. All go to the author's own list.
        keys: The keys of the current history.
        tweet_ttl_seconds: How long a tweet stays in the tweet cache.
    """
    tweet_cache_commands = TweetCacheCommands(keys, tweet_ttl_seconds)
    packed: list[list[bytes]] = [[] for _ in range(SHARDS)]
    for record in records:
        if record.kind in TWEET_KINDS:
            packed[shard_of(record.other_id)].append(tweet_cache_commands.pack(record))
    for list_ in dropped_lists(records):
        packed[list_.shard].append(unlink(keys.for_list(list_).encode()))
    pushes = push_to_authors({author: PackedIds.of(ids) for author, ids in written.items()}, keys)
    return [
        [*join_commands(of_shard), *pushes_of_shard]
        for of_shard, pushes_of_shard in zip(packed, pushes, strict=True)
    ]


def _drop_lists_of_followers(
    records: Iterable[Record], followers: Mapping[int, FollowerPages], keys: Keys
) -> Iterator[CommandsOf]:
    """Yield commands that drop the followers' lists, where the author's records require it.

    When an author becomes a pull author, lists built earlier do not name the author among those to
    merge. When the creation of a tweet is replayed, the lists of its author's followers may lack
    it.
    """
    authors: dict[int, None] = {}
    for record in records:
        if record.kind == "tweet_created" and (record.is_replayed or record.became_pulled):
            authors[record.user_id] = None
            METRICS.add(Metric.CROSSING_DROPPED, not record.is_replayed)
    for author in authors:
        for page in followers[author]:

            def commands_of(shard: Shard, page: Followers = page) -> Iterator[Commands]:
                start = keys.lists_start(ListKind.HOME, shard)
                of_shard = page[page % SHARDS == shard].tolist()
                return join_commands(unlink(b"%b%d" % (start, user)) for user in of_shard)

            yield commands_of


def _push_to_followers(
    pushed: Mapping[int, Sequence[bytes]], followers: Mapping[int, FollowerPages], keys: Keys
) -> Iterator[CommandsOf]:
    """Yield commands that push tweets to the followers' lists.

    Each item that is yielded has at most one push per list.

    Args:
        pushed: Tweet ids by author, each packed.
        followers: Has every author in `pushed`.
        keys: The keys of the current history.
    """
    pages: list[Followers] = []
    packed_ids: list[PackedIds] = []
    pairs = deliveries = 0
    for author, ids in pushed.items():
        packed = PackedIds.of(ids)
        for page in followers[author]:
            if pairs and pairs + page.size > MAX_PAIRS:
                yield push_to_followers(pages, packed_ids, keys)
                pages, packed_ids, pairs = [], [], 0
            pages.append(page)
            packed_ids.append(packed)
            pairs += page.size
            deliveries += page.size * packed.number
    DELIVERIES.inc(deliveries)
    if pairs:
        yield push_to_followers(pages, packed_ids, keys)
