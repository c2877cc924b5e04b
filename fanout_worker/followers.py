"""The follower arrays that a worker keeps: who gets an author's tweets.

An array is read once, under the WAL rule, and then kept right by the follows and unfollows in the
author's partition. It is thrown away whenever that partition is not where this worker left it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.feed_events import user_of
from fanout_worker.records import Record
from fanout_worker.store import Followers

# Ids in all arrays of a worker together: 400 MB. Beyond it all are dropped and read again as
# needed, which is simple, and rare.
MAX_IDS = 50_000_000

Read = Callable[[Sequence[int], int], dict[int, Followers]]


class FollowerArrays:
    """Follower arrays by partition and author."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._arrays: dict[int, dict[int, Followers]] = {}
        self._size = 0

    def drop(self, partition: int) -> None:
        """Forget the arrays of a partition's authors."""
        dropped = self._arrays.pop(partition, {})
        self._size -= sum(array.size for array in dropped.values())

    def after(
        self, partition: int, records: Sequence[Record], wal_position: int
    ) -> dict[int, Followers]:
        """Return the followers as of the last record, of authors pushed or that cease to be.

        wal_position: at least that of every record and of the partition's fences; an array not
        yet known is read from a Postgres that has it. All follows and unfollows of the batch
        count before any of its tweets: a list that a follow drops must not keep a tweet that
        went to the followers before it. A replayed record changes no array: what its author
        had may be wrong, and is read anew.
        """
        arrays = self._arrays.setdefault(partition, {})
        for author in {user_of(record.event) for record in records if record.replayed}:
            if (doubted := arrays.pop(author, None)) is not None:
                self._size -= doubted.size
        tweeting = {
            user_of(record.event)
            for record in records
            if record.event.HasField("tweet_created")
            and (
                record.replayed
                or record.event.tweet_created.became_pulled
                or not record.event.tweet_created.pulled
            )
        }
        if unknown := sorted(tweeting - arrays.keys()):
            if self._size > MAX_IDS:
                self._arrays = {partition: arrays}
                arrays.clear()
                unknown = sorted(tweeting)
                self._size = 0
            arrays |= self._read(unknown, wal_position)
            self._size += sum(arrays[author].size for author in unknown)
        for author, changes in _changes(records).items():
            if author in arrays:
                arrays[author] = _changed(arrays[author], changes)
        return {author: arrays[author] for author in tweeting}


def _changes(records: Sequence[Record]) -> dict[int, dict[int, bool]]:
    """Return, by author, who follows after the records (True) and who no longer does (False)."""
    changes: dict[int, dict[int, bool]] = {}
    for record in records:
        if record.replayed:
            continue
        match record.event.WhichOneof("event"):
            case "user_followed":
                edge = record.event.user_followed
                changes.setdefault(edge.followed_id, {})[edge.follower_id] = True
            case "user_unfollowed":
                gone = record.event.user_unfollowed
                changes.setdefault(gone.followed_id, {})[gone.follower_id] = False
    return changes


def _changed(followers: Followers, changes: dict[int, bool]) -> Followers:
    touched = np.fromiter(changes, np.int64, len(changes))
    joined = np.fromiter((id_ for id_, follows in changes.items() if follows), np.int64)
    return np.concatenate([followers[~np.isin(followers, touched)], joined])
