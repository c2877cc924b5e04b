"""The follower arrays that a worker keeps: who gets an author's tweets.

An array is read once, under the WAL rule, and then kept right by the follows and unfollows in the
author's partition. It is thrown away whenever that partition is not where this worker left it.

All arrays together hold a given number of ids at most. When they would hold more, those that the
batch does not need are dropped, which is simple, and rare. An author whose followers are too many
even then is not kept at all: each batch reads them in pages, under the WAL rule too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.feed.events import user_of
from core.feed.history import Moment
from fanout_worker.records import Record

Followers = NDArray[np.int64]
# An author's followers, in arrays of a bearable size.
Pages = Iterable[Followers]

# (users, moment, limit) -> (user, followers; if more than the limit, some of them).
Read = Callable[[Sequence[int], Moment, int], Iterator[tuple[int, Followers]]]
# (user, moment) -> followers.
ReadPages = Callable[[int, Moment], Iterator[Followers]]


@dataclass(frozen=True)
class _Unkept:
    """The followers of an author who has too many to keep them, read anew at each iteration."""

    read: ReadPages
    author: int
    moment: Moment

    def __iter__(self) -> Iterator[Followers]:
        return self.read(self.author, self.moment)


class FollowerArrays:
    """Follower arrays by partition and author."""

    def __init__(self, read: Read, read_pages: ReadPages, limit: int) -> None:
        """Prepare to keep so many ids at most."""
        self._read = read
        self._read_pages = read_pages
        self._limit = limit
        # None: too many to keep.
        self._arrays: dict[int, dict[int, Followers | None]] = {}
        self._size = 0

    def drop(self, partition: int) -> None:
        """Forget the arrays of a partition's authors."""
        for array in self._arrays.pop(partition, {}).values():
            self._size -= _size(array)

    def after(self, records: Mapping[int, Sequence[Record]], moment: Moment) -> dict[int, Pages]:
        """Return the followers as of the last records, of authors pushed or that cease to be.

        records: by partition. moment: not before any record and any of the partitions' fences; what
        is not yet known is read from a Postgres that has reached it. All follows and
        unfollows of the batch count before any of its tweets: a list that a follow drops must not
        keep a tweet that went to the followers before it. A replayed record changes no array:
        what its author had may be wrong, and is read anew.
        """
        tweeting: dict[int, int] = {}  # the partition by author
        for partition, read in records.items():
            arrays = self._arrays.setdefault(partition, {})
            for record in read:
                if record.kind == "tweet_created":
                    created = record.change
                    if record.replayed or created.became_pulled or not created.pulled:
                        tweeting[created.tweet.user_id] = partition
                if record.replayed:
                    self._size -= _size(arrays.pop(user_of(record.event), None))
        self._read_unknown(tweeting, moment)
        for partition, read in records.items():
            arrays = self._arrays[partition]
            for author, changes in _changes(read).items():
                if (array := arrays.get(author)) is not None:
                    arrays[author] = changed = _changed(array, changes)
                    self._size += changed.size - array.size
        return {
            author: self._pages(author, partition, moment) for author, partition in tweeting.items()
        }

    def _read_unknown(self, tweeting: Mapping[int, int], moment: Moment) -> None:
        unknown = [
            author
            for author, partition in tweeting.items()
            if author not in self._arrays[partition]
        ]
        if not unknown:
            return
        for author, array in self._read(sorted(unknown), moment, self._limit):
            if self._size + array.size > self._limit:
                self._keep_only(tweeting)
            kept = array if self._size + array.size <= self._limit else None
            self._arrays[tweeting[author]][author] = kept
            self._size += _size(kept)

    def _keep_only(self, tweeting: Mapping[int, int]) -> None:
        for partition, arrays in self._arrays.items():
            self._arrays[partition] = {
                author: array for author, array in arrays.items() if author in tweeting
            }
        self._size = sum(
            _size(array) for arrays in self._arrays.values() for array in arrays.values()
        )

    def _pages(self, author: int, partition: int, moment: Moment) -> Pages:
        array = self._arrays[partition][author]
        return _Unkept(self._read_pages, author, moment) if array is None else (array,)


def _size(array: Followers | None) -> int:
    return 0 if array is None else array.size


def _changes(records: Sequence[Record]) -> dict[int, dict[int, bool]]:
    """Return, by author, who follows after the records (True) and who no longer does (False)."""
    changes: dict[int, dict[int, bool]] = {}
    for record in records:
        if record.kind in {"user_followed", "user_unfollowed"} and not record.replayed:
            edge = record.change
            follows = record.kind == "user_followed"
            changes.setdefault(edge.followed_id, {})[edge.follower_id] = follows
    return changes


def _changed(followers: Followers, changes: dict[int, bool]) -> Followers:
    touched = np.fromiter(changes, np.int64, len(changes))
    joined = np.fromiter((id_ for id_, follows in changes.items() if follows), np.int64)
    return np.concatenate([followers[~np.isin(followers, touched)], joined])
