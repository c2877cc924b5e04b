"""The fan-out worker; see consumer.py, checkpoints.py and apply.py in fanout_worker/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from model.batch import Command, Counting, FollowerIndex, Placed, commands_by_shard
from model.events import SHARDS
from model.postgres import Moment
from model.redis import RedisAwayError
from model.shards import Checkpoints, Shards
from model.wal_rule import HistoryEndedError
from model.world import Steps, World

from core.feed.checkpoints import Checkpoint


class Worker:
    """A worker, with the checkpoints that it expects of its partitions."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self._assigned: set[int] = set()
        self._checkpoints: dict[int, list[Checkpoint]] = {}
        self._offsets: dict[int, int] = {}
        self._topic = 0
        self._restored = 0
        self._history: str | None = None
        self._followers = FollowerIndex(world)
        self._shards = Shards(world, name)

    def run(self) -> Steps[None]:
        """Apply records for ever."""
        self._shards.connect()
        while True:
            yield
            try:
                yield from self._step()
            except RedisAwayError:
                self._forget(self._assigned)
                self._shards.connect()
            except HistoryEndedError:
                self._forget(self._assigned)
                self._history = None

    def _step(self) -> Steps[None]:
        self._poll()
        if self._history is None or self.world.quiet or self.world.chance(0.1):
            yield from self._ask_history()
        if self._history is None:
            return
        if self._assigned - self._checkpoints.keys():
            yield from self._load_checkpoints()
        yield
        self._poll()
        if batch := self._fetch():
            yield from self._apply(batch)
        elif self.world.quiet or self.world.chance(0.3):
            yield from self._verify_checkpoints()

    def _ask_history(self) -> Steps[None]:
        """Ask the primary for its valid history, and move to it if it is another one."""
        relay = self.world.postgres.now.relay
        history = self.world.postgres.valid_history()
        yield
        if history != self._history:
            self.world.tell(self.name, f"moves to {history}")
            self._forget(self._assigned)
            self._history = history
            if history is not None:
                self._shards.enter(history)
                yield from self._shards.remove_ended(relay.ended)

    def _poll(self) -> None:
        """Ask the group which partitions this worker has now."""
        assigned = {p for p, worker in self.world.assigned.items() if worker == self.name}
        if assigned != self._assigned:
            self._forget(self._assigned | assigned)
            self._assigned = assigned

    def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._checkpoints.pop(partition, None)
            if self.world.rules.followers_dropped_with_checkpoints:
                self._followers.drop(partition)

    # Loading the checkpoints ---------------------------------------------------------------

    def _load_checkpoints(self) -> Steps[None]:
        """Read the checkpoints, create the absent ones, and continue at their offsets."""
        world, kafka = self.world, self.world.kafka
        partitions = sorted(self._assigned)
        self._forget(partitions)
        if world.rules.checkpoints_before_ranges:
            found = yield from self._shards.look(partitions)
        topic, restored = kafka.topic_id, kafka.restored
        yield
        ranges = {p: (kafka.low[p], kafka.end(p)) for p in partitions}
        yield
        if not world.rules.checkpoints_before_ranges:
            found = yield from self._shards.look(partitions)
        for (shard, partition), checkpoint in found.items():
            low, high = ranges[partition]
            if checkpoint and not (
                checkpoint.topic_id == str(topic)
                and low <= checkpoint.offset <= high
                and self._is_last(partition, checkpoint)
            ):
                yield from self._shards.remove(shard, partition, checkpoint)
                return
        if absent := [key for key, checkpoint in found.items() if checkpoint is None]:
            if world.rules.caches_dropped_with_checkpoints:
                yield from self._shards.drop_all()
            yield from self._create(absent, ranges, topic)
            found = yield from self._shards.look(partitions)
            # Another worker, which still knew the former topic, may have created some of them.
            if any(
                checkpoint and checkpoint.topic_id != str(topic) for checkpoint in found.values()
            ):
                return
        if all(found.values()):
            for partition in partitions:
                self._checkpoints[partition] = [
                    checkpoint
                    for (_, of), checkpoint in found.items()
                    if of == partition and checkpoint is not None
                ]
                self._offsets[partition] = _earliest(self._checkpoints[partition]).offset
            self._topic, self._restored = kafka.topic_id, restored
            world.tell(self.name, "continues at", {p: self._offsets[p] for p in partitions})

    def _create(
        self,
        absent: Sequence[tuple[int, int]],
        ranges: Mapping[int, tuple[int, int]],
        topic: int,
    ) -> Steps[None]:
        kafka, space = self.world.kafka, self._shards.space
        offsets, lasts = {}, {}
        for partition, (low, high) in ranges.items():
            committed = kafka.committed.get(partition, -1)
            at_end = self.world.rules.created_at_end or not low <= committed <= high
            offsets[partition] = high if at_end else committed
        yield
        for partition, offset in offsets.items():
            there = offset <= kafka.end(partition)
            lasts[partition] = (kafka.last(partition, offset) or 0) if there else 0
        yield
        postgres = self.world.postgres
        if postgres.valid_history() != self._history:
            raise HistoryEndedError
        lsn, epoch = postgres.lsn, postgres.now.relay.epoch
        for shard, partition in absent:
            yield
            self._shards.check()
            if (shard, partition) not in space.checkpoints:
                checkpoint = Checkpoint(
                    offsets[partition], lsn, epoch, str(topic), lasts[partition]
                )
                space.set_checkpoint((shard, partition), checkpoint)
                self.world.tell(self.name, f"creates checkpoint {shard}/{partition}: {checkpoint}")
        yield

    def _is_last(self, partition: int, checkpoint: Checkpoint) -> bool:
        """Return whether the record before the checkpoint is still the one that was applied."""
        last = self.world.kafka.last(partition, checkpoint.offset)
        return last in {None, checkpoint.last_event_id} or not self.world.rules.last_record_compared

    def _verify_checkpoints(self) -> Steps[None]:
        """Forget the partitions whose stored checkpoints are not the expected ones."""
        found = yield from self._shards.look(sorted(self._checkpoints))
        for (shard, partition), checkpoint in found.items():
            if partition in self._checkpoints and self._checkpoints[partition][shard] != checkpoint:
                self._forget([partition])
        topic = str(self.world.kafka.topic_id)
        if self.world.rules.topic_asked_again:
            self._forget(
                [
                    p
                    for p, (checkpoint, *_) in self._checkpoints.items()
                    if checkpoint.topic_id != topic
                ]
            )

    # Applying ------------------------------------------------------------------------------

    def _fetch(self) -> dict[int, list[Placed]]:
        """Return new records by partition; forget partitions whose offset Kafka does not have."""
        kafka = self.world.kafka
        batch: dict[int, list[Placed]] = {}
        for partition in list(self._checkpoints):
            offset, end = self._offsets[partition], kafka.end(partition)
            if (
                self._topic != kafka.topic_id
                or (self._restored != kafka.restored and self.world.rules.reload_after_disconnect)
                or not kafka.low[partition] <= offset <= end
            ):
                self._forget([partition])
                continue
            end = min(end, offset + self.world.rng.choice(self.world.batch_sizes))
            if offset < end:
                log = kafka.partitions[partition]
                batch[partition] = [(at, log[at]) for at in range(offset, end)]
                self._offsets[partition] = end
        return batch

    def _apply(self, batch: Mapping[int, list[Placed]]) -> Steps[None]:
        """Apply a batch, in steps if it has unreadable records; see `unreadable_end_a_batch`."""
        readable = {p: _before_unreadable(records) for p, records in batch.items()}
        if readable != batch:
            if self.world.rules.unreadable_end_a_batch and any(readable.values()):
                yield from self._apply_readable({p: r for p, r in readable.items() if r})
                self._seek()
                return
            unreadable = [p for p in batch if readable[p] != batch[p]]
            for partition in unreadable:
                self.world.kafka.dead_letters += [
                    record for _, record in batch[partition] if not record.readable
                ]
            yield
            if not (yield from self._drop_for_unreadable(unreadable)):
                return
            if self.world.rules.unreadable_end_a_batch:
                batch = {p: batch[p][:1] for p in unreadable}
                yield from self._apply_readable(batch)
                self._seek()
                return
        yield from self._apply_readable(batch)

    def _seek(self) -> None:
        """Fetch again what was fetched and not applied."""
        for partition, checkpoints in self._checkpoints.items():
            self._offsets[partition] = _earliest(checkpoints).offset

    def _apply_readable(self, batch: Mapping[int, list[Placed]]) -> Steps[None]:
        work = yield from self._commands(batch)
        before = self._by_shard(batch)
        after = [
            {
                partition: self._counting.advanced(checkpoint, batch[partition])
                for partition, checkpoint in checkpoints.items()
            }
            for checkpoints in before
        ]
        if (yield from self._move(work, before, after)):
            self.world.figures["batches"] += 1
            yield
            kafka = self.world.kafka
            for partition, records in batch.items():
                if (self._topic, self._restored) == (kafka.topic_id, kafka.restored):
                    self.world.kafka.committed[partition] = records[-1][0] + 1

    @property
    def _counting(self) -> Counting:
        return Counting(self.world.rules, self._shards.history)

    def _commands(self, batch: Mapping[int, list[Placed]]) -> Steps[list[list[Command]]]:
        """Return the commands of each shard for the records after its checkpoints."""
        rules = self.world.rules
        followers: dict[int, set[int]] = {}
        for partition, records in batch.items():
            checkpoints = self._checkpoints[partition]
            base = _earliest(checkpoints)
            lsns = [record.lsn for _, record in records if record.readable]
            lsns += [checkpoint.lsn for checkpoint in checkpoints]
            counting = self._counting.effective(records, base.offset, base.epoch)
            needed = Moment(self._shards.history, max(lsns))
            followers |= yield from self._followers.after(partition, counting, needed)
        work = []
        for shard in range(SHARDS):
            counting = []
            for partition, records in batch.items():
                checkpoint = self._checkpoints[partition][shard]
                counting += self._counting.effective(records, checkpoint.offset, checkpoint.epoch)
            work.append(commands_by_shard(rules, counting, followers)[shard])
        return work

    def _drop_for_unreadable(self, partitions: Sequence[int]) -> Steps[bool]:
        """Store the current LSN, then drop everything that an unreadable record may concern."""
        rules = self.world.rules
        if rules.unreadable_move_lsn:
            now = self.world.postgres.lsn
            yield
            before = self._by_shard(partitions)
            after = [
                {p: replace(f, lsn=max(f.lsn, now)) for p, f in checkpoints.items()}
                for checkpoints in before
            ]
            if not (yield from self._move([[] for _ in range(SHARDS)], before, after)):
                return False
        yield
        if rules.unreadable_drop_all:
            yield from self._shards.drop_all()
        if rules.unreadable_drop_followers:
            for partition in partitions:
                self._followers.drop(partition)
        return True

    def _by_shard(self, partitions: Iterable[int]) -> list[Checkpoints]:
        return [
            {partition: self._checkpoints[partition][shard] for partition in partitions}
            for shard in range(SHARDS)
        ]

    def _move(
        self,
        work: Sequence[list[Command]],
        before: Sequence[Checkpoints],
        after: Sequence[Checkpoints],
    ) -> Steps[bool]:
        """Apply the work and move the checkpoints; return whether they were the expected ones."""
        if not (yield from self._shards.apply(work, before, after)):
            self.world.figures["checkpoint mismatches"] += 1
            self._forget(before[0])
            return False
        for partition in before[0]:
            self._checkpoints[partition] = [checkpoints[partition] for checkpoints in after]
        return True


def _earliest(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return a checkpoint to start from: a record that counts for any shard counts for it too.

    It has the lowest offset and the lowest epoch, which may come from different shards: a
    checkpoint that was created later may have a lower offset and a higher epoch.
    """
    furthest_behind = min(checkpoints, key=lambda checkpoint: checkpoint.offset)
    return replace(furthest_behind, epoch=min(checkpoint.epoch for checkpoint in checkpoints))


def _before_unreadable(records: list[Placed]) -> list[Placed]:
    for at, (_, record) in enumerate(records):
        if not record.readable:
            return records[:at]
    return records
