"""The follower index: who follows the authors whose tweets a worker delivers.

An author's followers are read from Postgres once, no earlier than the batch that needs them. After
that the index follows the follow and unfollow events in the author's partition. It forgets the
authors of a partition whenever the worker forgets the partition's checkpoints.

The index limits how many user ids it holds. If an author that it has read would exceed the limit,
it drops all authors that the batch does not need. If there is still no room, the author is not
held: each batch reads their followers from Postgres, page by page. Follow events are not checked
against the limit, and may take the index above it until the next author is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.feed.history import Moment
from core.feed.sharding import Partition
from fanout_worker.protocols import Followers, FollowerStore
from fanout_worker.records import Record

# An author's followers, in arrays that fit into memory one at a time. Can be iterated repeatedly.
FollowerPages = Iterable[Followers]


@dataclass(frozen=True)
class _UnheldFollowers:
    """The followers of an author who has too many of them; each iteration reads them again."""

    store: FollowerStore
    author: int
    moment: Moment

    def __iter__(self) -> Iterator[Followers]:
        return self.store.follower_pages(self.author, self.moment)


class FollowerIndex:
    """Followers by partition and author."""

    def __init__(self, store: FollowerStore, limit: int) -> None:
        """Start empty; limit is the number of user ids that the index may hold."""
        self._store = store
        self._limit = limit
        # The value is None for an author with too many followers to hold.
        self._arrays: dict[Partition, dict[int, Followers | None]] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """How many user ids the index holds."""
        return self._size

    def count_authors(self) -> int:
        """Return how many authors' followers the index holds; any thread may ask."""
        # list() copies the values at once, so that the thread of the worker may add some meanwhile.
        return sum(map(len, list(self._arrays.values())))

    def drop(self, partition: Partition) -> None:
        """Forget all authors of a partition."""
        for array in self._arrays.pop(partition, {}).values():
            self._size -= _size(array)

    def followers_after(
        self, records: Mapping[Partition, Sequence[Record]], moment: Moment
    ) -> dict[int, FollowerPages]:
        """Apply a batch, and return the followers of the authors whose tweets need them.

        These are the authors with a tweet that is pushed, or that makes all followers' lists wrong.
        All follows and unfollows of the batch take effect before any of its tweets. Otherwise, if
        an unfollow drops a list and a reader rebuilds it at once, a push would add a tweet that the
        list must not have.

        A replayed follow or unfollow is not applied to the index. Instead the author is forgotten,
        and read again when needed, because the index may be wrong about them.

        Args:
            records: The batch.
            moment: A moment not before any of the records, nor before any checkpoint of the
                partitions. Followers are read from a Postgres that has reached it.

        Raises:
            psycopg.Error, OtherHistoryError: See FollowerStore.followers().
        """
        tweeting: dict[int, Partition] = {}
        for partition, batch in records.items():
            arrays = self._arrays.setdefault(partition, {})
            for record in batch:
                if record.kind == "tweet_created" and (
                    not record.pulled or record.became_pulled or record.is_replayed
                ):
                    tweeting[record.user_id] = partition
                if record.is_replayed:
                    self._size -= _size(arrays.pop(record.user_id, None))
        self._read_unknown(tweeting, moment)
        for partition, batch in records.items():
            arrays = self._arrays[partition]
            for author, changes in _changes(batch).items():
                if (array := arrays.get(author)) is not None:
                    arrays[author] = changed = _changed(array, changes)
                    self._size += changed.size - array.size
        return {
            author: self._pages(author, partition, moment) for author, partition in tweeting.items()
        }

    def _read_unknown(self, tweeting: Mapping[int, Partition], moment: Moment) -> None:
        unknown = [
            author
            for author, partition in tweeting.items()
            if author not in self._arrays[partition]
        ]
        if not unknown:
            return
        for author, array in self._store.followers(sorted(unknown), moment, self._limit):
            if self._size + array.size > self._limit:
                self._drop_others(tweeting)
            held = array if self._size + array.size <= self._limit else None
            self._arrays[tweeting[author]][author] = held
            self._size += _size(held)

    def _drop_others(self, tweeting: Mapping[int, Partition]) -> None:
        for partition, arrays in self._arrays.items():
            self._arrays[partition] = {
                author: array for author, array in arrays.items() if author in tweeting
            }
        self._size = sum(
            _size(array) for arrays in self._arrays.values() for array in arrays.values()
        )

    def _pages(self, author: int, partition: Partition, moment: Moment) -> FollowerPages:
        array = self._arrays[partition][author]
        return _UnheldFollowers(self._store, author, moment) if array is None else (array,)


def _size(array: Followers | None) -> int:
    return 0 if array is None else array.size


def _changes(records: Sequence[Record]) -> dict[int, dict[int, bool]]:
    """Return, by author and follower, whether the follower follows after the records."""
    changes: dict[int, dict[int, bool]] = {}
    for record in records:
        if record.kind in {"user_followed", "user_unfollowed"} and not record.is_replayed:
            follows = record.kind == "user_followed"
            changes.setdefault(record.user_id, {})[record.other_id] = follows
    return changes


def _changed(followers: Followers, changes: Mapping[int, bool]) -> Followers:
    touched = np.fromiter(changes, np.int64, len(changes))
    joined = np.fromiter((id_ for id_, follows in changes.items() if follows), np.int64)
    return np.concatenate([followers[~np.isin(followers, touched)], joined])
