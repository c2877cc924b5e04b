"""The faults that strike servers and processes, each drawn by its weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from model import forks
from model.events import PARTITIONS, SHARDS
from model.forks import Copies
from model.redis import Space
from model.relay import Relay, replay_dead_letters, replay_since
from model.worker import Worker
from model.world import Steps, World

WORKERS = ("worker A", "worker B")
RELAYS = ("relay A", "relay B")


@dataclass
class Actor:
    """An actor, and how likely it is to take the next step."""

    name: str
    steps: Steps[None]
    weight: float = 1.0
    asleep: int = 0
    """How many steps of the whole simulation pass before the actor takes one."""


@dataclass
class Chaos:
    """Faults, each drawn by its weight."""

    world: World
    actors: list[Actor]
    weights: dict[str, float]
    _copies: Copies = field(default_factory=Copies)

    def strike(self) -> None:
        """Let one fault happen."""
        if not any(self.weights.values()):
            return
        (name,) = self.world.rng.choices(list(self.weights), list(self.weights.values()))
        if FAULTS[name](self):
            self.world.figures[f"fault: {name}"] += 1

    def heal(self) -> None:
        """Bring Redis back if it is away."""
        self.world.redis.up = True

    def flush(self) -> bool:
        """Empty Redis."""
        self.world.redis.flush()
        self.world.tell("chaos", "FLUSHALL")
        return True

    def copy_redis(self) -> bool:
        """Copy Redis, to restore it later."""
        self._copies.take(self.world, ["redis"])
        return False

    def restore_redis(self) -> bool:
        """Restore Redis from an older copy."""
        if not self._copies.redis:
            return False
        if forks.restore_redis(self.world, self._copies):
            self._recover()
        return True

    def copy_kafka(self) -> bool:
        """Copy Kafka, to restore it later."""
        self._copies.take(self.world, ["kafka"])
        return False

    def restore_kafka(self) -> bool:
        """Restore Kafka from an older copy."""
        applied = forks.is_applied(self.world)
        if not self._copies.kafka or not (applied or self.world.rng.random() < 0.2):
            return False
        forks.restore_kafka(self.world, self._copies)
        for name in WORKERS:
            self._stall(name)  # until they are connected again
        if not applied:
            # No process can notice the loss of records that were never applied.
            self._recover()
        return True

    def copy_postgres(self) -> bool:
        """Copy Postgres, to restore it later."""
        self._copies.take(self.world, ["postgres"])
        return False

    def restore_postgres(self) -> bool:
        """Restore Postgres from an older copy."""
        if not self._copies.postgres:
            return False
        forks.restore_postgres(self.world, self._copies)
        return True

    def put_back_postgres(self) -> bool:
        """Load an older state into Postgres while it runs."""
        if not self._copies.postgres or not forks.put_back(self.world, self._copies):
            return False
        self._recover()
        return True

    def copy_all(self) -> bool:
        """Copy all servers at one moment, to restore them later."""
        self._copies.take(self.world, ["redis", "kafka", "postgres"])
        return False

    def restore_all(self) -> bool:
        """Restore all servers at once, each from a copy that may be of another moment."""
        copies = self._copies
        if not (copies.redis and copies.kafka and copies.postgres):
            return False
        forks.restore_postgres(self.world, copies)
        forks.restore_kafka(self.world, copies)
        forks.restore_redis(self.world, copies)
        return True  # a new history begins, so the operator need not recover

    def restart_postgres(self) -> bool:
        """Restart the primary."""
        forks.restart_postgres(self.world)
        return True

    def fail_over(self) -> bool:
        """Promote the replica."""
        self.actors.append(Actor("former primary", forks.fail_over(self.world)))
        return True

    def fail_back(self) -> bool:
        """Go back to the former primary."""
        self.actors.append(Actor("former primary", forks.fail_back(self.world)))
        return False

    def clone_replica(self) -> bool:
        """Replace the replica with a new clone of the primary."""
        forks.clone(self.world)
        return True

    def reset_postgres(self) -> bool:
        """Replace the primary with an empty database."""
        forks.reset_postgres(self.world)
        return True

    def recover(self) -> bool:
        """Run `fanfare recover` although nothing is wrong."""
        self._recover()
        return True

    def redis_away(self) -> bool:
        """Make Redis stop answering, or answer again; its data stays."""
        self.world.redis.up = not self.world.redis.up
        self.world.tell("chaos", "Redis is", "up" if self.world.redis.up else "away")
        return True

    def break_connection(self) -> bool:
        """Break the read service's connection to Redis."""
        self.world.redis.break_connection()
        self.world.tell("chaos", "the read service loses its connection to Redis")
        return True

    def expire(self) -> bool:
        """Let a list or a tweet cache entry expire; placeholders and leases expire too."""
        space = self._space()
        if space.lists and self.world.rng.random() < 0.6:
            list_ = self.world.rng.choice(list(space.lists))
            space.drop_list(list_)
            self.world.tell("chaos", f"{list_} expires")
        elif space.tweet_cache:
            entry = self.world.rng.choice(list(space.tweet_cache))
            space.put_tweet(entry, None)
            self.world.tell("chaos", f"the cache entry of t{entry} expires")
        return True

    def lose_checkpoint(self) -> bool:
        """Lose one checkpoint, but not the lists of its shard."""
        key = (self.world.rng.randrange(SHARDS), self.world.rng.randrange(PARTITIONS))
        self._space().remove_checkpoint(key)
        # Copies are discarded, so that none without the key is restored after a worker has dropped
        # the lists, and before it has created the key. In production only two milliseconds lie
        # between these, and both faults would have to happen then.
        self._copies.redis.clear()
        self.world.tell("chaos", f"checkpoint {key[0]}/{key[1]} is lost")
        return True

    def retention(self) -> bool:
        """Have Kafka delete its oldest records, perhaps some that are not applied yet."""
        kafka = self.world.kafka
        partition = self.world.rng.randrange(PARTITIONS)
        kafka.low[partition] = self.world.rng.randint(kafka.low[partition], kafka.end(partition))
        self.world.tell("chaos", f"Kafka keeps {partition} from {kafka.low[partition]} on")
        return True

    def recreate_topic(self) -> bool:
        """Delete the topic and create it again."""
        self.world.kafka.recreate()
        self.world.tell("chaos", "the topic is recreated")
        return True

    def rebalance(self) -> bool:
        """Give a partition to the other worker; the one that loses it may notice late."""
        partition = self.world.rng.randrange(PARTITIONS)
        other = [name for name in WORKERS if name != self.world.assigned[partition]]
        self._stall(self.world.assigned[partition])
        self.world.assigned[partition] = other[0]
        self.world.tell("chaos", f"partition {partition} is given to {other[0]}")
        return True

    def kill_worker(self) -> bool:
        """Kill a worker, and start it again."""
        name = self.world.rng.choice(WORKERS)
        self._replace(name, Worker(self.world, name).run())
        self.world.tell("chaos", f"{name} is killed")
        return True

    def kill_relay(self) -> bool:
        """Kill a relay; the other one may take over."""
        name = self.world.rng.choice(RELAYS)
        self._replace(name, Relay(self.world, name).run())
        for server in self.world.servers:
            server.relay_lock = None
        self.world.tell("chaos", f"{name} is killed")
        return True

    def cut_relay(self) -> bool:
        """End the relay's session; the relay notices at its next statement."""
        self._stall(self.world.rng.choice(RELAYS))
        self.world.postgres.relay_lock = None
        self.world.tell("chaos", "the relay's session ends")
        return True

    def replay(self) -> bool:
        """Run `fanfare replay`."""
        self.actors.append(Actor("operator", replay_since(self.world)))
        return False

    def replay_letters(self) -> bool:
        """Run `fanfare dlq replay`."""
        self.actors.append(Actor("operator", replay_dead_letters(self.world)))
        return False

    def _recover(self) -> None:
        self.actors.append(Actor("operator", forks.recover(self.world)))

    def _space(self) -> Space:
        return self.world.space(self.world.postgres.now.relay.history)

    def _stall(self, name: str) -> None:
        """Let an actor take no step for a while; sometimes the while is empty."""
        for actor in self.actors:
            if actor.name == name:
                actor.asleep = self.world.rng.choice((0, 50, 200, 600))

    def _replace(self, name: str, steps: Steps[None]) -> None:
        for actor in self.actors:
            if actor.name == name:
                actor.steps = steps


FAULTS: dict[str, Callable[[Chaos], bool]] = {
    "Redis emptied": Chaos.flush,
    "Redis copied": Chaos.copy_redis,
    "Redis restored": Chaos.restore_redis,
    "Kafka copied": Chaos.copy_kafka,
    "Kafka restored": Chaos.restore_kafka,
    "Postgres copied": Chaos.copy_postgres,
    "Postgres restored": Chaos.restore_postgres,
    "Postgres put back": Chaos.put_back_postgres,
    "all copied": Chaos.copy_all,
    "all restored": Chaos.restore_all,
    "Postgres restarted": Chaos.restart_postgres,
    "Postgres failed over": Chaos.fail_over,
    "Postgres failed back": Chaos.fail_back,
    "replica cloned": Chaos.clone_replica,
    "Postgres emptied": Chaos.reset_postgres,
    "recovered": Chaos.recover,
    "Redis away": Chaos.redis_away,
    "reader's connection broken": Chaos.break_connection,
    "key expired": Chaos.expire,
    "checkpoint lost": Chaos.lose_checkpoint,
    "retention": Chaos.retention,
    "topic recreated": Chaos.recreate_topic,
    "rebalance": Chaos.rebalance,
    "worker killed": Chaos.kill_worker,
    "relay killed": Chaos.kill_relay,
    "relay's session ended": Chaos.cut_relay,
    "replay": Chaos.replay,
    "dead letters replayed": Chaos.replay_letters,
}
