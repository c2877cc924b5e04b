"""Turns a batch of records into rounds of Redis transactions.

Records name authors and their tweets, the follower index names authors and their followers. Redis
needs the transpose: for each follower's timeline one push with all new tweets in it. An author's
tweet ids are packed once; the push to a timeline joins the packed ids of the authors in it. So a
delivery costs one copy of an id, plus a few look-ups per pair of author and follower, and longer
batches make a delivery cheaper.

Everything is a lazy iterator, because a batch may have more deliveries than fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from core.feed.keys import Keys
from core.feed.sharding import SHARDS, Shard, shard_of
from core.feed.timeline_lists import ListKind, author_list
from core.runtime.metrics import METRICS, Metric
from core.storage.resp import pack_arguments
from fanout_worker.chunks import ALL_SHARDS, Command, Round, cut_into_rounds
from fanout_worker.commands import dropped_lists, push, tweet_cache_command, unlink
from fanout_worker.followers import FollowerPages
from fanout_worker.protocols import Followers
from fanout_worker.records import Record

# The most pairs of author and follower that are transposed together.
MAX_PAIRS = 1_000_000

# Returns the commands for one shard.
_CommandsOf = Callable[[Shard], Iterator[Command]]


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
            tweet = record.change.tweet
            packed_id = b"%d" % tweet.id
            written.setdefault(tweet.user_id, []).append(packed_id)
            if not record.change.pulled:
                pushed.setdefault(tweet.user_id, []).append(packed_id)
    first = _commands_without_followers(records, written, keys, tweet_ttl_seconds)
    parts = chain(
        _drop_lists_of_followers(records, followers, keys),
        _push_to_followers(pushed, followers, keys),
    )
    part: _CommandsOf | None = next(parts, _no_commands)
    while part is not None:
        following = next(parts, None)
        commands = {shard: chain(first[shard], part(shard)) for shard in shards}
        first = [[] for _ in range(SHARDS)]
        yield from cut_into_rounds(commands, is_last=following is None)
        part = following


def _no_commands(_shard: Shard) -> Iterator[Command]:
    return iter(())


def _commands_without_followers(
    records: Sequence[Record],
    written: Mapping[int, Sequence[bytes]],
    keys: Keys,
    tweet_ttl_seconds: int,
) -> list[list[Command]]:
    """Return the commands by shard, for everything but the lists of an author's followers.

    Args:
        records: The batch.
        written: New tweet ids by author. All go to the author's own list.
        keys: The keys of the current history.
        tweet_ttl_seconds: How long a tweet stays in the tweet cache.
    """
    commands: list[list[Command]] = [[] for _ in range(SHARDS)]
    for record in records:
        if (cached := tweet_cache_command(record, keys, tweet_ttl_seconds)) is not None:
            tweet_id, command = cached
            commands[shard_of(tweet_id)].append(command)
    for list_ in dropped_lists(records):
        commands[list_.shard].append(unlink(keys.for_list(list_).encode()))
    for author, ids in written.items():
        list_ = author_list(author)
        key = keys.for_list(list_).encode()
        commands[list_.shard].append(push(key, pack_arguments(ids), len(ids)))
    return commands


def _drop_lists_of_followers(
    records: Iterable[Record], followers: Mapping[int, FollowerPages], keys: Keys
) -> Iterator[_CommandsOf]:
    """Yield commands that drop the followers' lists, where the author's records require it.

    When an author becomes a pull author, lists built earlier do not name the author among those to
    merge. When the creation of a tweet is replayed, the lists of its author's followers may lack
    it.
    """
    authors: dict[int, None] = {}
    for record in records:
        if record.kind == "tweet_created" and (record.is_replayed or record.change.became_pulled):
            authors[record.change.tweet.user_id] = None
            METRICS.add(Metric.CROSSING_DROPPED, not record.is_replayed)
    for author in authors:
        for page in followers[author]:

            def commands_of(shard: Shard, page: Followers = page) -> Iterator[Command]:
                of_shard = page[page % SHARDS == shard].tolist()
                return (unlink(key) for key in keys.for_lists(ListKind.HOME, shard, of_shard))

            yield commands_of


def _push_to_followers(
    pushed: Mapping[int, Sequence[bytes]], followers: Mapping[int, FollowerPages], keys: Keys
) -> Iterator[_CommandsOf]:
    """Yield commands that push tweets to the followers' lists.

    Each item that is yielded has at most one push per list.

    Args:
        pushed: Tweet ids by author.
        followers: Has every author in `pushed`.
        keys: The keys of the current history.
    """
    pages: list[Followers] = []
    packed_ids: list[tuple[bytes, int]] = []
    pairs = 0
    for author, ids in pushed.items():
        packed = pack_arguments(ids), len(ids)
        for page in followers[author]:
            if pairs and pairs + page.size > MAX_PAIRS:
                yield _transpose(pages, packed_ids, keys)
                pages, packed_ids, pairs = [], [], 0
            pages.append(page)
            packed_ids.append(packed)
            pairs += page.size
    if pairs:
        yield _transpose(pages, packed_ids, keys)


def _transpose(
    pages: Sequence[Followers], packed_ids: Sequence[tuple[bytes, int]], keys: Keys
) -> _CommandsOf:
    """Return one push per follower, with the tweets of all authors on whose pages they are.

    Args:
        pages: Followers, each page of one author.
        packed_ids: For each page, the author's tweet ids, packed, and their number.
        keys: The keys of the current history.
    """
    followers = np.concatenate(pages)
    page_of = np.repeat(np.arange(len(pages)), [page.size for page in pages])
    # Sorts by shard, then by follower: the shard goes into high bits that no user id reaches.
    order = np.argsort(followers | (followers % SHARDS) << 58)
    followers, page_of = followers[order], page_of[order]
    starts = np.flatnonzero(np.diff(followers, prepend=-1))
    followers = followers[starts]
    counts = np.add.reduceat(np.array([count for _, count in packed_ids])[page_of], starts)
    ids = np.array([packed for packed, _ in packed_ids], object)[page_of].tolist()
    bounds = np.searchsorted(followers % SHARDS, np.arange(SHARDS + 1))
    ends = np.append(starts[1:], len(ids))

    def commands_of(shard: Shard) -> Iterator[Command]:
        of_shard = slice(bounds[shard], bounds[shard + 1])
        for key, start, end, count in zip(
            keys.for_lists(ListKind.HOME, shard, followers[of_shard].tolist()),
            starts[of_shard].tolist(),
            ends[of_shard].tolist(),
            counts[of_shard].tolist(),
            strict=True,
        ):
            yield push(key, b"".join(ids[start:end]), count)

    return commands_of
