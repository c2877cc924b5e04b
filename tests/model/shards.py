"""The shards of Redis, as a worker writes them: see fanout_worker/shards.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from model.batch import Command
from model.events import SHARDS
from model.redis import LENGTH, TRIM_SLACK, Space
from model.world import Steps, ViolationError, World

from core.feed.checkpoints import Checkpoint

Fences = dict[int, Checkpoint]
"""By partition."""


class Shards:
    """A worker's connections to Redis; all methods raise RedisAwayError."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.history = ""
        self._incarnation = world.redis.incarnation

    def connect(self) -> None:
        """Connect anew."""
        self._incarnation = self.world.redis.incarnation

    @property
    def space(self) -> Space:
        """The keys of the worker's history."""
        return self.world.space(self.history)

    def look(self, partitions: Sequence[int]) -> Steps[dict[tuple[int, int], Checkpoint | None]]:
        """Return what the progress keys say, by (shard, partition)."""
        found = {}
        for shard in range(SHARDS):
            self.check()
            for partition in partitions:
                found[shard, partition] = self.space.progress.get((shard, partition))
            yield
        return found

    def remove(self, shard: int, partition: int, fence: Checkpoint) -> Steps[None]:
        """Remove a progress key whose records are lost, if it still says this."""
        space = self.space
        key = (shard, partition)
        self.check()
        writes = space.writes.get(key)
        if space.progress.get(key) != fence:
            return
        yield
        self.check()
        if space.writes.get(key) != writes:
            return
        kafka = self.world.kafka
        if not kafka.restored and fence.topic_id == str(kafka.topic_id):
            low, end = kafka.low[partition], kafka.end(partition)
            if low <= fence.offset <= end:
                raise ViolationError(f"{self.name} starts anew, and Kafka has what comes after")
        if not self.world.rules.lost_records_wipe:
            low, topic = kafka.low[partition], str(kafka.topic_id)
            last = kafka.last(partition, low) or 0
            space.set_progress(key, replace(fence, offset=low, topic_id=topic, last_event_id=last))
            return
        space.remove_progress(key)
        self.world.figures["progress removed"] += 1
        self.world.tell(self.name, f"removes progress {shard}/{partition}: lost came after {fence}")

    def drop_all(self) -> Steps[None]:
        """Remove all lists and bodies, one kind after the other."""
        yield from remove_lists(self.world, self.history)
        self.world.tell(self.name, f"has removed all lists and bodies of {self.history}")

    def remove_ended(self, histories: Iterable[str]) -> Steps[None]:
        """Remove the keys of histories that have ended."""
        for history in histories:
            yield from remove_history(self.world, history)

    def apply(
        self, work: Sequence[list[Command]], before: Sequence[Fences], after: Sequence[Fences]
    ) -> Steps[bool]:
        """Apply the work and move the fences; return False if one is not where it was."""
        size = self.world.rng.choice((1, 2, 100))
        parts = [_cut(commands, size) for commands in work]
        believed = list(before)
        mismatched = False
        for at in range(max(map(len, parts))):
            for shard in range(SHARDS):
                if at < len(parts[shard]):
                    last = at == len(parts[shard]) - 1
                    end = self._end_of_part(believed[shard], after[shard], last=last)
                    moved = yield from self._execute(shard, parts[shard][at], believed[shard], end)
                    believed[shard] = end
                    if not moved:
                        mismatched = True
                        parts[shard] = []
        return not mismatched

    def _end_of_part(self, before: Fences, after: Fences, *, last: bool) -> Fences:
        rules = self.world.rules
        if last or not rules.parts_keep_offset:
            return after
        if not rules.parts_move_position:
            return before
        return {
            partition: replace(fence, lsn=after[partition].lsn)
            for partition, fence in before.items()
        }

    def _execute(
        self, shard: int, commands: Sequence[Command], before: Fences, after: Fences
    ) -> Steps[bool]:
        """Run one transaction, if the progress keys are as believed and nobody touches them."""
        space = self.space
        fenced = self.world.rules.fences_compared
        self.check()
        writes = {p: space.writes.get((shard, p)) for p in before}
        if fenced and any(space.progress.get((shard, p)) != f for p, f in before.items()):
            return False
        yield
        self.check()
        if fenced and any(space.writes.get((shard, p)) != n for p, n in writes.items()):
            return False
        lengths = [command.run(space) for command in commands]
        for partition, fence in after.items():
            space.set_progress((shard, partition), fence)
        self.world.tell(
            self.name,
            f"applies {len(commands)} commands to shard {shard}:",
            {p: (f.offset, f.lsn, f.epoch, f.last_event_id) for p, f in after.items()},
        )
        yield
        self.check()
        for command, length in zip(commands, lengths, strict=True):
            if command.list is not None and (length or 0) > LENGTH + TRIM_SLACK:
                space.trim(command.list)
        return True

    def check(self) -> None:
        """Raise RedisAwayError if Redis is away, or these connections are broken."""
        self.world.redis.check(self._incarnation)


def _cut(commands: list[Command], size: int) -> list[list[Command]]:
    return [commands[at : at + size] for at in range(0, len(commands), size)] or [[]]


def remove_lists(world: World, history: str) -> Steps[None]:
    """Remove all lists and bodies of a history, one kind after the other."""
    space = world.space(history)
    for kind in ("timeline", "author"):
        world.redis.check()
        for key in [key for key in space.lists if key.kind == kind]:
            del space.lists[key]
        yield
    world.redis.check()
    for tweet_id in list(space.bodies):
        space.put_body(tweet_id, None)
    yield


def remove_history(world: World, history: str) -> Steps[None]:
    """Remove all keys of a history that has ended."""
    if not world.rules.keys_by_history:
        return
    space = world.space(history)
    for key in list(space.progress):
        world.redis.check()
        space.remove_progress(key)
        yield
    yield from remove_lists(world, history)
