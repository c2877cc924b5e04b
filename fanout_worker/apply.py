"""Fetched records, as waves for the shards of Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from core.feed.checkpoints import Checkpoint
from core.feed.history import Moment
from core.feed.keys import Keys
from core.runtime.metrics import METRICS, Metric
from fanout_worker.followers import FollowerArrays
from fanout_worker.records import Record, base_of, effective, places
from fanout_worker.rounds import Wave, waves


class Applier:
    """Makes waves of records, each from where its shard stands."""

    def __init__(self, followers: FollowerArrays, ttl_seconds: int) -> None:
        """Use the arrays; ttl_seconds: for bodies."""
        self._followers = followers
        self._ttl_seconds = ttl_seconds

    def nothing(self, keys: Keys) -> Iterator[Wave]:
        """Return what only moves the fences of all shards."""
        return waves((), {}, keys, self._ttl_seconds)

    def waves(
        self,
        records: Mapping[int, Sequence[Record]],
        fences: Mapping[int, Sequence[Checkpoint]],
        keys: Keys,
        history: str,
    ) -> Iterator[Wave]:
        """Yield what applies the records; records: by partition; fences: by partition, then shard.

        Reads followers that are not known from Postgres, and raises what that raises.
        """
        counting: dict[int, list[Record]] = {}
        lsns = []
        for partition, read in records.items():
            base = base_of(fences[partition])
            lsns += [record.lsn for record in read]
            lsns += [fence.lsn for fence in fences[partition]]
            counting[partition] = effective(read, base.offset, base.epoch)
            fresh = sum(record.offset >= base.offset for record in read)
            METRICS.add(Metric.STALE_EPOCH_SKIPPED, fresh - len(counting[partition]))
            METRICS.add(Metric.REPLAYED, sum(record.replayed for record in counting[partition]))
        followers = self._followers.after(counting, Moment(history, max(lsns)))
        for place, shards in places([fences[partition] for partition in records]).items():
            applied = [
                record
                for (offset, epoch), read in zip(place, counting.values(), strict=True)
                for record in effective(read, offset, epoch)
            ]
            yield from waves(applied, followers, keys, self._ttl_seconds, shards)
