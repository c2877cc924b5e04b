"""The shards of Redis, as a worker writes to them; see fanout_worker/shards.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from model.batch import Command
from model.events import SHARDS
from model.redis import LENGTH, TRIM_SLACK, CheckpointKey, Space
from model.world import Steps, ViolationError, World

from core.feed.checkpoints import Checkpoint

LARGE = 10
"""A batch of more commands goes over other connections, which begin to watch then."""
Checkpoints = dict[int, Checkpoint]
"""One shard's checkpoints by partition."""


class Shards:
    """A worker's connections to Redis. Methods raise RedisAwayError while Redis is away."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self._history = ""
        self._incarnation = world.redis.incarnation
        self._seen: dict[CheckpointKey, Checkpoint | None] = {}
        """What the connections watch, with the values that were read then."""
        self._watched: dict[CheckpointKey, int | None] = {}
        """How often each of them had been written."""
        self._was_large = False

    def connect(self) -> None:
        """Connect again."""
        self._incarnation = self.world.redis.incarnation
        self._forget()

    @property
    def history(self) -> str:
        """The worker's history."""
        return self._history

    def enter(self, history: str) -> None:
        """Use the keys of this history."""
        self._history = history
        self._forget()

    def _forget(self) -> None:
        self._seen.clear()
        self._watched.clear()

    def _watch(self, key: CheckpointKey) -> None:
        """WATCH a checkpoint, then read it."""
        self._watched[key] = self.space.writes.get(key)
        self._seen[key] = self.space.checkpoints.get(key)

    @property
    def space(self) -> Space:
        """The keys of the worker's history."""
        return self.world.space(self.history)

    def look(self, partitions: Sequence[int]) -> Steps[dict[tuple[int, int], Checkpoint | None]]:
        """Return the stored checkpoints by (shard, partition), and watch them from now on."""
        self._forget()
        found = {}
        for shard in range(SHARDS):
            self.check()
            for partition in partitions:
                self._watch((shard, partition))
                found[shard, partition] = self._seen[shard, partition]
            yield
        return found

    def remove(self, shard: int, partition: int, checkpoint: Checkpoint) -> Steps[None]:
        """Remove a checkpoint whose next records are lost, if it is still this one."""
        space = self.space
        key = (shard, partition)
        self._forget()
        self.check()
        writes = space.writes.get(key)
        if space.checkpoints.get(key) != checkpoint:
            return
        yield
        self.check()
        if space.writes.get(key) != writes:
            return
        kafka = self.world.kafka
        if not kafka.restored and checkpoint.topic_id == str(kafka.topic_id):
            low, end = kafka.low[partition], kafka.end(partition)
            if low <= checkpoint.offset <= end:
                raise ViolationError(f"{self.name} removes a checkpoint, and Kafka has its records")
        if not self.world.rules.lost_records_wipe:
            low, topic = kafka.low[partition], str(kafka.topic_id)
            last = kafka.last(partition, low) or 0
            space.set_checkpoint(
                key, replace(checkpoint, offset=low, topic_id=topic, last_event_id=last)
            )
            return
        space.remove_checkpoint(key)
        self.world.figures["checkpoints removed"] += 1
        self.world.tell(
            self.name, f"removes checkpoint {shard}/{partition}: lost records after {checkpoint}"
        )

    def drop_all(self) -> Steps[None]:
        """Remove all lists and the tweet cache, one kind after the other."""
        yield from remove_lists(self.world, self.history)
        self.world.tell(self.name, f"has removed all lists and the tweet cache of {self.history}")

    def remove_ended(self, histories: Iterable[str]) -> Steps[None]:
        """Remove the keys of histories that have ended."""
        for history in histories:
            yield from remove_history(self.world, history)

    def apply(
        self,
        work: Sequence[list[Command]],
        before: Sequence[Checkpoints],
        after: Sequence[Checkpoints],
    ) -> Steps[bool]:
        """Apply the work and move the checkpoints; return whether all were the expected ones."""
        size = self.world.rng.choice(self.world.chunk_sizes)
        chunks = [_cut(commands, size) for commands in work]
        is_large = sum(map(len, work)) > LARGE
        watches_ahead, self._was_large = is_large == self._was_large, is_large
        expected = list(before)
        mismatched = False
        for at in range(max(map(len, chunks))):
            for shard in range(SHARDS):
                if at < len(chunks[shard]):
                    last = at == len(chunks[shard]) - 1
                    end = self._end_of_chunk(expected[shard], after[shard], last=last)
                    moved = yield from self._execute(
                        *(shard, chunks[shard][at], expected[shard], end),
                        watches_ahead=watches_ahead and at == 0,
                    )
                    expected[shard] = end
                    if not moved:
                        mismatched = True
                        chunks[shard] = []
        return not mismatched

    def _end_of_chunk(self, before: Checkpoints, after: Checkpoints, *, last: bool) -> Checkpoints:
        rules = self.world.rules
        if last or not rules.chunks_keep_offset:
            return after
        if rules.chunks_move_lsn:
            before = {p: replace(c, lsn=after[p].lsn) for p, c in before.items()}
        if rules.chunks_have_ids:
            chunk_id = self.world.new_token()
            before = {p: replace(c, chunk_id=chunk_id) for p, c in before.items()}
        return before

    def _execute(
        self,
        shard: int,
        commands: Sequence[Command],
        before: Checkpoints,
        after: Checkpoints,
        *,
        watches_ahead: bool,
    ) -> Steps[bool]:
        """Run a transaction if the checkpoints are the expected ones, and stay so until it runs.

        They were read when the one before had run, perhaps long ago, and have been watched since.

        Args:
            shard: The shard.
            commands: The commands of the transaction.
            before: The expected checkpoints.
            after: The checkpoints that the transaction stores.
            watches_ahead: Whether the checkpoints are watched already. They are not when the round
                goes over other connections than the one before, because of its size.
        """
        space = self.space
        rules = self.world.rules
        self.check()
        keys = {(shard, partition) for partition in before}
        for key in keys if not watches_ahead else keys - self._seen.keys():
            self._watch(key)
        watched = {key: self._watched[key] for key in keys}
        expected = {(shard, partition): checkpoint for partition, checkpoint in before.items()}
        if rules.checkpoints_compared and any(self._seen[k] != c for k, c in expected.items()):
            self._forget()
            return False
        yield
        self.check()
        is_written = any(space.writes.get(key) != writes for key, writes in watched.items())
        if rules.checkpoints_compared and is_written:
            self._forget()
            return False
        lengths = [command.run(space) for command in commands]
        for partition, checkpoint in after.items():
            space.set_checkpoint((shard, partition), checkpoint)
        self.world.tell(
            self.name,
            f"applies {len(commands)} commands to shard {shard}:",
            {p: (f.offset, f.lsn, f.epoch, f.last_event_id) for p, f in after.items()},
        )
        yield
        self.check()
        for key in watched:
            self._watch(key)
        for command, length in zip(commands, lengths, strict=True):
            if command.list is not None and (length or 0) > LENGTH + TRIM_SLACK:
                space.trim(command.list)
        return True

    def check(self) -> None:
        """Raise RedisAwayError if Redis is away, or the connections broke."""
        self.world.redis.check(self._incarnation)


def _cut(commands: list[Command], size: int) -> list[list[Command]]:
    return [commands[at : at + size] for at in range(0, len(commands), size)] or [[]]


def remove_lists(world: World, history: str) -> Steps[None]:
    """Remove all lists and the tweet cache of a history, one kind after the other."""
    space = world.space(history)
    for kind in ("timeline", "author"):
        world.redis.check()
        for key in [key for key in space.lists if key.kind == kind]:
            space.drop_list(key)
        yield
    world.redis.check()
    for tweet_id in list(space.tweet_cache):
        space.put_tweet(tweet_id, None)
    yield


def remove_history(world: World, history: str) -> Steps[None]:
    """Remove all keys of a history that has ended."""
    if not world.rules.keys_by_history:
        return
    space = world.space(history)
    for key in list(space.checkpoints):
        world.redis.check()
        space.remove_checkpoint(key)
        yield
    yield from remove_lists(world, history)
