"""The fan-out worker: Kafka -> Redis. See fanout_worker/consumer.py and shards.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from model.batch import Command, Counting, FollowerArrays, Placed, commands_by_shard
from model.events import SHARDS
from model.postgres import Moment
from model.redis import RedisAwayError
from model.shards import Fences, Shards
from model.wal_rule import HistoryEndedError
from model.world import Steps, World

from core.feed.checkpoints import Checkpoint


class Worker:
    """A worker, with what it believes about the partitions that it was given."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self._assigned: set[int] = set()
        self._fences: dict[int, list[Checkpoint]] = {}
        self._places: dict[int, int] = {}
        self._topic = 0
        self._restored = 0
        self._history: str | None = None
        self._followers = FollowerArrays(world)
        self._shards = Shards(world, name)

    def run(self) -> Steps[None]:
        """Apply what comes, for ever."""
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
        if self._assigned - self._fences.keys():
            yield from self._find_place()
        yield
        self._poll()
        if batch := self._fetch():
            yield from self._apply(batch)
        elif self.world.quiet or self.world.chance(0.3):
            yield from self._check_fences()

    def _ask_history(self) -> Steps[None]:
        """Ask the primary which history is valid, and move to it."""
        relay = self.world.postgres.now.relay
        history = self.world.postgres.valid_history()
        yield
        if history != self._history:
            self.world.tell(self.name, f"moves to {history}")
            self._forget(self._assigned)
            self._history = history
            if history is not None:
                self._shards.history = history
                yield from self._shards.remove_ended(relay.ended)

    def _poll(self) -> None:
        """Learn from the group which partitions are this worker's now."""
        assigned = {p for p, worker in self.world.assigned.items() if worker == self.name}
        if assigned != self._assigned:
            self._forget(self._assigned | assigned)
            self._assigned = assigned

    def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._fences.pop(partition, None)
            if self.world.rules.arrays_dropped_with_place:
                self._followers.drop(partition)

    # Finding the place ---------------------------------------------------------------------

    def _find_place(self) -> Steps[None]:
        """Look at the progress keys, create those that are absent, and go where they say."""
        world, kafka = self.world, self.world.kafka
        partitions = sorted(self._assigned)
        self._forget(partitions)
        if world.rules.fences_before_ranges:
            found = yield from self._shards.look(partitions)
        topic, restored = kafka.topic_id, kafka.restored
        yield
        ranges = {p: (kafka.low[p], kafka.end(p)) for p in partitions}
        yield
        if not world.rules.fences_before_ranges:
            found = yield from self._shards.look(partitions)
        for (shard, partition), fence in found.items():
            low, high = ranges[partition]
            if fence and not (
                fence.topic_id == str(topic)
                and low <= fence.offset <= high
                and self._is_last(partition, fence)
            ):
                yield from self._shards.remove(shard, partition, fence)
                return
        if absent := [key for key, fence in found.items() if fence is None]:
            if world.rules.lists_follow_their_fence:
                yield from self._shards.drop_all()
            yield from self._create(absent, ranges, topic)
            found = yield from self._shards.look(partitions)
            # Another worker, which knew the topic before this one, may have created some of them.
            if any(fence and fence.topic_id != str(topic) for fence in found.values()):
                return
        if all(found.values()):
            for partition in partitions:
                self._fences[partition] = [
                    fence
                    for (_, of), fence in found.items()
                    if of == partition and fence is not None
                ]
                self._places[partition] = _base(self._fences[partition]).offset
            self._topic, self._restored = kafka.topic_id, restored
            world.tell(self.name, "goes on from", {p: self._places[p] for p in partitions})

    def _create(
        self,
        absent: Sequence[tuple[int, int]],
        ranges: Mapping[int, tuple[int, int]],
        topic: int,
    ) -> Steps[None]:
        kafka, space = self.world.kafka, self._shards.space
        places, lasts = {}, {}
        for partition, (low, high) in ranges.items():
            committed = kafka.committed.get(partition, -1)
            at_end = self.world.rules.created_at_end or not low <= committed <= high
            places[partition] = high if at_end else committed
        yield
        for partition, place in places.items():
            there = place <= kafka.end(partition)
            lasts[partition] = (kafka.last(partition, place) or 0) if there else 0
        yield
        postgres = self.world.postgres
        if postgres.valid_history() != self._history:
            raise HistoryEndedError
        lsn, epoch = postgres.lsn, postgres.now.relay.epoch
        for shard, partition in absent:
            yield
            self._shards.check()
            if (shard, partition) not in space.progress:
                fence = Checkpoint(places[partition], lsn, epoch, str(topic), lasts[partition])
                space.set_progress((shard, partition), fence)
                self.world.tell(self.name, f"creates progress {shard}/{partition}: {fence}")
        yield

    def _is_last(self, partition: int, fence: Checkpoint) -> bool:
        """Return whether the record before the fence is the one that was there."""
        last = self.world.kafka.last(partition, fence.offset)
        return last in {None, fence.last_event_id} or not self.world.rules.last_record_compared

    def _check_fences(self) -> Steps[None]:
        """Forget the partitions whose progress keys are not where this worker left them."""
        found = yield from self._shards.look(sorted(self._fences))
        for (shard, partition), fence in found.items():
            if partition in self._fences and self._fences[partition][shard] != fence:
                self._forget([partition])
        topic = str(self.world.kafka.topic_id)
        if self.world.rules.topic_asked_again:
            self._forget([p for p, (fence, *_) in self._fences.items() if fence.topic_id != topic])

    # Applying ------------------------------------------------------------------------------

    def _fetch(self) -> dict[int, list[Placed]]:
        """Return what has come, by partition; forget those whose place Kafka does not have."""
        kafka = self.world.kafka
        batch: dict[int, list[Placed]] = {}
        for partition in list(self._fences):
            place, end = self._places[partition], kafka.end(partition)
            if (
                self._topic != kafka.topic_id
                or (self._restored != kafka.restored and self.world.rules.place_with_connection)
                or not kafka.low[partition] <= place <= end
            ):
                self._forget([partition])
                continue
            end = min(end, place + self.world.rng.choice((1, 2, 5, 100)))
            if place < end:
                log = kafka.partitions[partition]
                batch[partition] = [(at, log[at]) for at in range(place, end)]
                self._places[partition] = end
        return batch

    def _apply(self, batch: Mapping[int, list[Placed]]) -> Steps[None]:
        """Apply a batch; one that holds unreadable records in two steps, see the rule."""
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
        """Go back to what was fetched and not applied."""
        for partition, fences in self._fences.items():
            self._places[partition] = _base(fences).offset

    def _apply_readable(self, batch: Mapping[int, list[Placed]]) -> Steps[None]:
        work = yield from self._commands(batch)
        before = self._by_shard(batch)
        after = [
            {
                partition: self._counting.advanced(fence, batch[partition])
                for partition, fence in fences.items()
            }
            for fences in before
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
        """Return what to do, by shard, to apply the records from each shard's fences on."""
        rules = self.world.rules
        followers: dict[int, set[int]] = {}
        for partition, records in batch.items():
            fences = self._fences[partition]
            base = _base(fences)
            lsns = [record.lsn for _, record in records if record.readable]
            lsns += [fence.lsn for fence in fences]
            counting = self._counting.effective(records, base.offset, base.epoch)
            needed = Moment(self._shards.history, max(lsns))
            followers |= yield from self._followers.after(partition, counting, needed)
        work = []
        for shard in range(SHARDS):
            counting = []
            for partition, records in batch.items():
                fence = self._fences[partition][shard]
                counting += self._counting.effective(records, fence.offset, fence.epoch)
            work.append(commands_by_shard(rules, counting, followers)[shard])
        return work

    def _drop_for_unreadable(self, partitions: Sequence[int]) -> Steps[bool]:
        """Move the positions to now, then drop all that an unreadable record may tell of."""
        rules = self.world.rules
        if rules.unreadable_move_position:
            now = self.world.postgres.lsn
            yield
            before = self._by_shard(partitions)
            after = [
                {p: replace(f, lsn=max(f.lsn, now)) for p, f in fences.items()} for fences in before
            ]
            if not (yield from self._move([[] for _ in range(SHARDS)], before, after)):
                return False
        yield
        if rules.unreadable_drop_all:
            yield from self._shards.drop_all()
        if rules.unreadable_drop_arrays:
            for partition in partitions:
                self._followers.drop(partition)
        return True

    def _by_shard(self, partitions: Iterable[int]) -> list[Fences]:
        return [
            {partition: self._fences[partition][shard] for partition in partitions}
            for shard in range(SHARDS)
        ]

    def _move(
        self, work: Sequence[list[Command]], before: Sequence[Fences], after: Sequence[Fences]
    ) -> Steps[bool]:
        """Apply the work and move the fences; return False if they are not where they were."""
        if not (yield from self._shards.apply(work, before, after)):
            self.world.figures["fences lost"] += 1
            self._forget(before[0])
            return False
        for partition in before[0]:
            self._fences[partition] = [fences[partition] for fences in after]
        return True


def _base(fences: Sequence[Checkpoint]) -> Checkpoint:
    """Return from where on the records are that any of the shards counts.

    The lowest epoch, not that of the shard furthest behind: a key created anew has the newest
    epoch, at an offset that other shards may have passed under an older one.
    """
    furthest_behind = min(fences, key=lambda fence: fence.offset)
    return replace(furthest_behind, epoch=min(fence.epoch for fence in fences))


def _before_unreadable(records: list[Placed]) -> list[Placed]:
    for at, (_, record) in enumerate(records):
        if not record.readable:
            return records[:at]
    return records
