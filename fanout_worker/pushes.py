"""The commands that push new tweets to the timelines of followers, up to millions in a batch.

Records name authors and their tweets, the follower index names authors and their followers. Redis
needs the transpose: for each follower's timeline one push with all new tweets in it. An author's
tweet ids are packed once; the push to a timeline joins the packed ids of the authors in it. So a
delivery costs one copy of an id, plus a few look-ups per pair of author and follower, and longer
batches make a delivery cheaper.

The pushes of one author's tweets to many followers differ only in the follower's id. They are
made by writing the followers' ids with commas between them, and replacing each comma by everything
that stands between two ids. That takes a tenth of the time of packing each command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from core.feed.keys import Keys
from core.feed.sharding import SHARDS, Shard, shard_of
from core.feed.timeline_lists import ListKind
from core.storage.resp import pack_lpushx_start
from fanout_worker.chunks import ALL_SHARDS, Commands, PushedLists
from fanout_worker.protocols import Followers

# The most pushes, and ids in them, that are made at a time. A chunk consists of whole pieces, and
# may have several times as many of both.
PIECE_PUSHES = 250
PIECE_IDS = 4000

# Returns the commands for one shard.
CommandsOf = Callable[[Shard], Iterator[Commands]]


class PackedIds(NamedTuple):
    """Tweet ids as arguments of a command in RESP."""

    packed: bytes
    number: int

    @classmethod
    def of(cls, ids: Sequence[bytes]) -> Self:
        """Join ids, each of which is packed already."""
        return cls(b"".join(ids), len(ids))


def push_to_authors(ids: Mapping[int, PackedIds], keys: Keys) -> list[list[Commands]]:
    """Return the pushes of tweets to the lists of their authors, by shard.

    Args:
        ids: The tweets by author.
        keys: The keys of the current history.
    """
    authors: list[list[int]] = [[] for _ in ALL_SHARDS]
    for author in ids:
        authors[shard_of(author)].append(author)
    return [
        list(_push_to_authors(of_shard, ids, keys.lists_start(ListKind.AUTHOR, shard)))
        for shard, of_shard in zip(ALL_SHARDS, authors, strict=True)
    ]


def _push_to_authors(
    authors: Sequence[int], ids: Mapping[int, PackedIds], key_start: bytes
) -> Iterator[Commands]:
    first = 0
    for size in _piece_sizes(np.array([ids[author].number for author in authors], np.int64)):
        piece = authors[first : first + size]
        first += size
        arguments: list[bytes] = []
        for author in piece:
            packed, count = ids[author]
            key = b"%b%d\r\n" % (key_start, author)
            arguments += pack_lpushx_start(len(key) - 2, count), key, packed
        total = sum(ids[author].number for author in piece)
        yield Commands(b"".join(arguments), size, total, PushedLists(key_start, piece))


def push_to_followers(
    pages: Sequence[Followers], ids: Sequence[PackedIds], keys: Keys
) -> CommandsOf:
    """Return one push per follower, with the tweets of all authors on whose pages they are.

    Args:
        pages: Followers, each page of one author. No follower is on a page twice.
        ids: For each page, the tweets of its author.
        keys: The keys of the current history.
    """
    if len(pages) == 1:
        return _push_to_page(pages[0], ids[0], keys)
    return _transpose(pages, ids, keys)


def _push_to_page(page: Followers, ids: PackedIds, keys: Keys) -> CommandsOf:
    """Return pushes of the same ids to everybody on a page."""
    shards = page % SHARDS
    size = max(1, min(PIECE_PUSHES, PIECE_IDS // ids.number))

    def commands_of(shard: Shard) -> Iterator[Commands]:
        start = keys.lists_start(ListKind.HOME, shard)
        followers = np.sort(page[shards == shard])
        # A command has the length of its key, so ids of different lengths are kept apart. No user
        # id has more than 18 digits; see _transpose().
        bounds = np.searchsorted(followers, [10**digits for digits in range(19)]).tolist()
        for digits, (first, end) in enumerate(pairwise(bounds), 1):
            # What a push has before and after the follower's id.
            head = pack_lpushx_start(len(start) + digits, ids.number) + start
            tail = b"\r\n" + ids.packed
            for at in range(first, end, size):
                users = followers[at : min(at + size, end)].tolist()
                packed = str(users)[1:-1].encode().replace(b", ", tail + head)
                yield Commands(
                    b"%b%b%b" % (head, packed, tail),
                    len(users),
                    len(users) * ids.number,
                    PushedLists(start, users),
                )

    return commands_of


def _transpose(pages: Sequence[Followers], ids: Sequence[PackedIds], keys: Keys) -> CommandsOf:
    """Return a push to each follower, with the ids of all pages on which they are."""
    followers = np.concatenate(pages)
    page_of = np.repeat(np.arange(len(pages)), [page.size for page in pages])
    # Sorts by shard, then by follower: the shard goes into high bits that no user id reaches.
    order = np.argsort(followers | (followers % SHARDS) << 58)
    followers, page_of = followers[order], page_of[order]
    # Where the pages of each follower begin.
    starts = np.flatnonzero(np.diff(followers, prepend=-1))
    users = followers[starts]
    counts = np.add.reduceat(np.array([count for _, count in ids])[page_of], starts)
    packed = np.array([of_page for of_page, _ in ids], object)[page_of].tolist()
    shard_starts = np.searchsorted(users % SHARDS, np.arange(SHARDS + 1)).tolist()
    ends = np.append(starts[1:], len(packed))

    def commands_of(shard: Shard) -> Iterator[Commands]:
        start = keys.lists_start(ListKind.HOME, shard)
        first = shard_starts[shard]
        for size in _piece_sizes(counts[first : shard_starts[shard + 1]]):
            piece = slice(first, first + size)
            first += size
            of_piece = users[piece].tolist()
            arguments: list[bytes] = []
            for user, begin, end, count in zip(
                of_piece,
                starts[piece].tolist(),
                ends[piece].tolist(),
                counts[piece].tolist(),
                strict=True,
            ):
                key = b"%b%d\r\n" % (start, user)
                arguments += pack_lpushx_start(len(key) - 2, count), key
                arguments += packed[begin:end]
            yield Commands(
                b"".join(arguments), size, int(counts[piece].sum()), PushedLists(start, of_piece)
            )

    return commands_of


def _piece_sizes(counts: NDArray[np.int64]) -> Iterator[int]:
    """Yield how many pushes to make at a time.

    Args:
        counts: How many ids each push has.
    """
    totals = np.cumsum(counts)
    at, done = 0, 0
    while at < totals.size:
        end = int(np.searchsorted(totals, done + PIECE_IDS, "right"))
        end = max(at + 1, min(at + PIECE_PUSHES, end))
        yield end - at
        at, done = end, int(totals[end - 1])
