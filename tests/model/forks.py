"""What sets servers back: copies that are restored, failovers, and the operator who recovers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from model.events import PARTITIONS, SHARDS
from model.kafka import KafkaCopy
from model.postgres import Postgres, Replica, Snapshot
from model.redis import Copy, RedisAwayError
from model.shards import remove_history
from model.world import Steps, World


@dataclass
class Copies:
    """The last two copies of each server, and how often Kafka was restored before each of Redis."""

    redis: list[tuple[Copy, int]] = field(default_factory=list)
    kafka: list[KafkaCopy] = field(default_factory=list)
    postgres: list[Sequence[Snapshot]] = field(default_factory=list)

    def take(self, world: World, names: Iterable[str]) -> None:
        """Copy some of the servers, all at this moment."""
        for name in names:
            if name == "redis":
                self.redis = [*self.redis[-1:], (world.redis.copy(), world.kafka.restored)]
            elif name == "kafka":
                self.kafka = [*self.kafka[-1:], world.kafka.copy()]
            else:
                self.postgres = [*self.postgres[-1:], list(world.postgres.snapshots)]
        world.tell("chaos", "copies", *names)


def restore_redis(world: World, copies: Copies) -> bool:
    """Restore Redis from a copy; return whether the operator must recover."""
    copy, restored = world.rng.choice(copies.redis)
    world.redis.restore(copy)
    world.tell("chaos", "Redis is restored from a copy of", *copy)
    # Kafka may have lost the records that this copy still needs.
    return restored != world.kafka.restored


def restore_kafka(world: World, copies: Copies) -> None:
    """Restore Kafka from a copy."""
    world.kafka.restore(world.rng.choice(copies.kafka))
    world.unpaged.add(world.postgres.now.relay.history)
    ends = [world.kafka.end(partition) for partition in range(PARTITIONS)]
    world.tell("chaos", "Kafka is restored from a copy up to", ends)


def is_applied(world: World) -> bool:
    """Return whether everything in Kafka has been applied to Redis."""
    checkpoints = world.space(world.postgres.now.relay.history).checkpoints
    for partition in range(PARTITIONS):
        for shard in range(SHARDS):
            checkpoint = checkpoints.get((shard, partition))
            if checkpoint is None or checkpoint.topic_id != str(world.kafka.topic_id):
                return False
            if checkpoint.offset != world.kafka.end(partition):
                return False
    return True


def restore_postgres(world: World, copies: Copies) -> None:
    """Replace the primary with one that was restored from a copy."""
    _start(world, world.rng.choice(copies.postgres))
    world.tell("chaos", "Postgres is restored from a copy at", world.postgres.lsn)


def restart_postgres(world: World) -> None:
    """Restart the primary; nothing is lost."""
    following = world.replica.source is world.postgres
    _start(world, world.postgres.snapshots)
    if following:
        world.replica.source = world.postgres
    world.tell("chaos", "Postgres is restarted at", world.postgres.lsn)


def reset_postgres(world: World) -> None:
    """Replace the primary with a database that has only the users and follows."""
    now = world.postgres.now
    _start(world, [Snapshot(users=now.users, erasing=now.erasing, follows=now.follows)])
    world.tell("chaos", "Postgres is emptied")


def put_back(world: World, copies: Copies) -> bool:
    """Load an older state into the running primary; return whether that could be done."""
    history = world.postgres.now.relay.history
    past = world.rng.choice(copies.postgres)
    if not world.postgres.put_back(past[-1]):
        return False
    world.loaded.append((world.postgres.now, past))
    world.unpaged |= {history, world.postgres.now.relay.history}
    world.tell("chaos", "Postgres is put back while it runs, at", world.postgres.lsn)
    return True


def _start(world: World, past: Sequence[Snapshot]) -> None:
    """Start Postgres on an older state; only the server number distinguishes it from the former."""
    world.postgres.stop()
    server = None if world.rules.restart_begins_history else world.postgres.server
    world.promote(Postgres(world.rules, world.clock, _written(world, past), server))


def _written(world: World, past: Sequence[Snapshot]) -> list[Snapshot]:
    """Return the past plus what a starting server writes to the WAL, which changes no data."""
    return [*past] + [past[-1]] * world.rng.choice((0, 1, 3))


def fail_over(world: World) -> Steps[None]:
    """Promote the replica; sessions with the former primary go on for a while."""
    former, replica = world.postgres, world.replica
    past = replica.source.snapshots[: replica.replayed + 1]
    world.promote(Postgres(world.rules, world.clock, _written(world, past)))
    world.tell("chaos", "Postgres fails over to the replica at", world.postgres.lsn)
    if world.rng.random() < 0.7:
        clone(world)
        if world.rng.random() < 0.5:
            world.replica.replayed = replica.replayed
            world.tell("chaos", "which is only at", replica.replayed)
    yield from _stop_later(world, former)


def fail_back(world: World) -> Steps[None]:
    """Send new sessions to a former primary that has not stopped."""
    former = [server for server in world.servers if server.running and server is not world.postgres]
    if former:
        left, world.postgres = world.postgres, world.rng.choice(former)
        world.figures["fault: Postgres failed back"] += 1
        world.tell("chaos", "Postgres fails back to", world.postgres.valid_history())
        yield from _stop_later(world, left)


def _stop_later(world: World, former: Postgres) -> Steps[None]:
    """Stop a former primary, whose sessions go on for a while."""
    for _ in range(world.rng.choice((0, 20, 100, 300))):
        yield
    if former is not world.postgres:
        former.stop()
        world.tell("chaos", "a former primary stops")


def clone(world: World) -> None:
    """Clone a new replica from the current primary."""
    world.replica.running = False
    world.replica = Replica(world.postgres)
    world.tell("chaos", "a replica is cloned at", world.replica.replayed)


def recover(world: World) -> Steps[None]:
    """Run `fanfare recover`, some time later."""
    for _ in range(world.rng.choice((0, 0, 20, 300))):
        yield
    history = world.postgres.begin_history(forced=True)
    world.tell("operator", f"recovers: {history} begins")
    for name in list(world.redis.spaces):
        if name != history:
            try:
                yield from remove_history(world, name)
            except RedisAwayError:
                return
