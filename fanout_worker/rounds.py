"""A batch of events as transactions for Redis, transposed.

The events say author -> tweets, and the arrays author -> followers; Redis wants timeline ->
tweets, one push for each timeline whatever the number of tweets. The tweets of an author are packed
once, and a timeline's push joins the packs of the authors that its reader follows: the cost is one
copy for each delivery, and a few look-ups for each author and follower. The longer the backlog, the
cheaper a delivery.

Everything is made as late as it is needed: a batch may have more deliveries than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from core.feed import tweet_cache as bodies
from core.feed.keys import Keys
from core.feed.sharding import SHARDS, Shard, shard_of
from core.feed.timeline_lists import ListKind, TimelineList, author_list, home_list
from core.runtime.metrics import METRICS, Metric
from core.storage.resp import pack, pack_arguments, pack_lpushx
from fanout_worker.followers import Followers, Pages
from fanout_worker.records import Record

# A transaction keeps Redis from others for a few milliseconds: one of so many commands, or of so
# many ids.
PART = 1000
PART_IDS = 20_000
# Pairs of author and follower that are transposed together.
SLAB = 1_000_000


class Part(NamedTuple):
    """What one transaction does to a shard."""

    packed: bytes
    """The commands, as the protocol has them."""
    commands: int
    """How many there are."""
    pushed: Sequence[bytes]
    """The lists that the last of the commands push to."""
    last: bool
    """Whether the shard is at the batch's end after it."""


# By shard. What is sent together, a transaction for each shard.
Wave = dict[int, Part]


class _Command(NamedTuple):
    packed: bytes
    ids: int = 0
    """How many ids it pushes."""
    pushed: bytes | None = None
    """The list that it pushes to."""


def waves(
    records: Sequence[Record],
    followers: Mapping[int, Pages],
    keys: Keys,
    ttl_seconds: int,
    shards: Iterable[int] = range(SHARDS),
) -> Iterator[Wave]:
    """Yield what applies the records to the shards; each shard has a last part.

    followers: as of the last record, of each author who is pushed or has just ceased to be.
    ttl_seconds: for bodies. Bodies come first: a list must not name a tweet whose body could have
    been there.

    A replayed record comes out of its order, so what it says may be past: it pushes nothing and
    sets nothing, and what it touches is dropped, to be read from Postgres.
    """
    written: dict[int, list[bytes]] = {}
    pushed: dict[int, list[bytes]] = {}
    for record in records:
        if record.kind == "tweet_created" and not record.replayed:
            created = record.change
            tweet = created.tweet
            id_ = b"%d" % tweet.id
            written.setdefault(tweet.user_id, []).append(id_)
            if not created.pulled:
                pushed.setdefault(tweet.user_id, []).append(id_)
    opening: list[list[_Command]] = [[] for _ in range(SHARDS)]
    for record in records:
        body = _dropped_body(record, keys) if record.replayed else _body(record, keys, ttl_seconds)
        if body is not None:
            tweet_id, command = body
            opening[shard_of(tweet_id)].append(_Command(command))
    for list_ in _dropped(records):
        opening[list_.shard].append(_Command(_unlink(keys.for_list(list_).encode())))
    for author, ids in written.items():
        list_ = author_list(author)
        key = keys.for_list(list_).encode()
        opening[list_.shard].append(_push(key, pack_arguments(ids), len(ids)))

    slabs = chain(_drops(records, followers, keys), _pushes(pushed, followers, keys))
    slab: _Slab | None = next(slabs, _nothing)
    while slab is not None:
        following = next(slabs, None)
        commands = {shard: chain(opening[shard], slab(shard)) for shard in shards}
        opening = [[] for _ in range(SHARDS)]
        yield from _cut(commands, last=following is None)
        slab = following


def _cut(commands: Mapping[int, Iterator[_Command]], *, last: bool) -> Iterator[Wave]:
    """Yield the commands in parts; last: whether the final one of each shard is its last."""
    parts = {shard: _parts(of_shard, last=last) for shard, of_shard in commands.items()}
    while True:
        wave = {
            shard: part
            for shard, of_shard in parts.items()
            if (part := next(of_shard, None)) is not None
        }
        if not wave:
            return
        METRICS.add(Metric.BATCH_CUT, any(not part.last for part in wave.values()))
        yield wave


def _parts(commands: Iterable[_Command], *, last: bool) -> Iterator[Part]:
    packed: list[bytes] = []
    pushed: list[bytes] = []
    ids = 0
    for command in commands:
        if packed and (len(packed) == PART or ids + command.ids > PART_IDS):
            yield Part(b"".join(packed), len(packed), pushed, last=False)
            packed, pushed, ids = [], [], 0
        packed.append(command.packed)
        ids += command.ids
        if command.pushed is not None:
            pushed.append(command.pushed)
    if packed or last:
        yield Part(b"".join(packed), len(packed), pushed, last)


def _body(record: Record, keys: Keys, ttl_seconds: int) -> tuple[int, bytes] | None:
    """Return what a record does to a tweet's body, None for one of something else."""
    match record.kind:
        case "tweet_created":
            tweet = record.change.tweet
            body = bodies.encode_entry(1, tweet.SerializeToString())
            key = keys.tweet(tweet.id).encode()
            # The first version never replaces anything: a plain SET NX will do, and a reader who
            # holds the lease reads this version or a newer.
            return tweet.id, pack(b"SET", key, body, b"NX", b"EX", b"%d" % ttl_seconds)
        case "tweet_updated":
            tweet = record.change.tweet
            body = bodies.encode_entry(record.change.version, tweet.SerializeToString())
            return tweet.id, _set_if_newer(keys.tweet(tweet.id), body, ttl_seconds)
        case "tweet_deleted":
            tweet_id = record.change.tweet_id
            return tweet_id, _set_if_newer(keys.tweet(tweet_id), bodies.DELETED, ttl_seconds)
    return None


def _dropped_body(record: Record, keys: Keys) -> tuple[int, bytes] | None:
    match record.kind:
        case "tweet_created" | "tweet_updated":
            tweet_id = record.change.tweet.id
        case "tweet_deleted":
            tweet_id = record.change.tweet_id
        case _:
            return None
    return tweet_id, _unlink(keys.tweet(tweet_id).encode())


def _dropped(records: Iterable[Record]) -> dict[TimelineList, None]:
    """Return the lists that are no longer right after the records, to be built anew.

    Without those of an author's followers, which _drops() has.
    """
    drops: dict[TimelineList, None] = {}
    for record in records:
        match record.kind:
            case "tweet_created" if record.replayed:
                drops[author_list(record.change.tweet.user_id)] = None
            case "user_followed" | "user_unfollowed":
                drops[home_list(record.change.follower_id)] = None
            case "user_deleted":
                drops[home_list(record.change.user_id)] = None
                drops[author_list(record.change.user_id)] = None
    return drops


def _set_if_newer(key: str, body: bytes, ttl_seconds: int) -> bytes:
    script = bodies.SET_IF_NEWER.encode()
    return pack(b"EVAL", script, b"1", key.encode(), body, b"%d" % ttl_seconds)


def _unlink(key: bytes) -> bytes:
    return pack(b"UNLINK", key)


def _push(key: bytes, ids: bytes, count: int) -> _Command:
    return _Command(pack_lpushx(key, ids, count), count, key)


# A shard's commands.
_Slab = Callable[[int], Iterator[_Command]]


def _nothing(_shard: int) -> Iterator[_Command]:
    return iter(())


def _drops(
    records: Iterable[Record], followers: Mapping[int, Pages], keys: Keys
) -> Iterator[_Slab]:
    """Yield the drops of the lists of followers, of authors who crossed or were replayed."""
    dropped: dict[int, None] = {}
    for record in records:
        if record.kind == "tweet_created" and (record.replayed or record.change.became_pulled):
            # Built before a crossing, the lists do not name the author among those to merge.
            dropped[record.change.tweet.user_id] = None
            METRICS.add(Metric.CROSSING_DROPPED, not record.replayed)
    for author in dropped:
        for page in followers[author]:

            def slab(shard: int, page: Followers = page) -> Iterator[_Command]:
                of_shard = page[page % SHARDS == shard].tolist()
                return (
                    _Command(_unlink(key))
                    for key in keys.for_lists(ListKind.HOME, Shard(shard), of_shard)
                )

            yield slab


def _pushes(
    pushed: Mapping[int, Sequence[bytes]], followers: Mapping[int, Pages], keys: Keys
) -> Iterator[_Slab]:
    """Yield the pushes to the followers' lists; a list may get one from each slab."""
    arrays: list[Followers] = []
    packs: list[tuple[bytes, int]] = []
    size = 0
    for author, ids in pushed.items():
        packed = pack_arguments(ids), len(ids)
        for page in followers[author]:
            if size and size + page.size > SLAB:
                yield _transposed(arrays, packs, keys)
                arrays, packs, size = [], [], 0
            arrays.append(page)
            packs.append(packed)
            size += page.size
    if size:
        yield _transposed(arrays, packs, keys)


def _transposed(
    arrays: Sequence[Followers], packs: Sequence[tuple[bytes, int]], keys: Keys
) -> _Slab:
    """Return the pushes to the readers in the arrays, of the ids packed beside each array."""
    readers = np.concatenate(arrays)
    packs_of = np.repeat(np.arange(len(arrays)), [array.size for array in arrays])
    # By shard, then by reader. The shard goes into the uppermost bits, which no id reaches.
    order = np.argsort(readers | (readers % SHARDS) << 58)
    readers, packs_of = readers[order], packs_of[order]
    starts = np.flatnonzero(np.diff(readers, prepend=-1))
    readers = readers[starts]
    counts = np.add.reduceat(np.array([count for _, count in packs])[packs_of], starts)
    ids = np.array([packed for packed, _ in packs], object)[packs_of].tolist()
    shards = np.searchsorted(readers % SHARDS, np.arange(SHARDS + 1))
    ends = np.append(starts[1:], len(ids))

    def slab(shard: int) -> Iterator[_Command]:
        part = slice(shards[shard], shards[shard + 1])
        for key, start, end, count in zip(
            keys.for_lists(ListKind.HOME, Shard(shard), readers[part].tolist()),
            starts[part].tolist(),
            ends[part].tolist(),
            counts[part].tolist(),
            strict=True,
        ):
            yield _push(key, b"".join(ids[start:end]), count)

    return slab
