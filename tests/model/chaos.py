"""What happens to the servers and the processes: each fault with its weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from model.events import PARTITIONS, SHARDS
from model.redis import Copy
from model.relay import Relay, replay_dead_letters, replay_since
from model.worker import Worker
from model.world import Steps, World

WORKERS = ("worker A", "worker B")
RELAYS = ("relay A", "relay B")


@dataclass
class Actor:
    """Somebody whose step may be next."""

    name: str
    steps: Steps[None]
    weight: float = 1.0
    asleep: int = 0
    """For how many steps of all the actor takes none."""


@dataclass
class Chaos:
    """Faults, each drawn by its weight."""

    world: World
    actors: list[Actor]
    weights: dict[str, float]
    _copies: list[Copy] = field(default_factory=list)

    def strike(self) -> None:
        """Let one fault happen."""
        if not any(self.weights.values()):
            return
        (name,) = self.world.rng.choices(list(self.weights), list(self.weights.values()))
        if FAULTS[name](self):
            self.world.figures[f"fault: {name}"] += 1

    def heal(self) -> None:
        """Bring back what is away."""
        self.world.redis.up = True

    def flush(self) -> bool:
        """Empty Redis."""
        self.world.redis.flush()
        self.world.tell("chaos", "FLUSHALL")
        return True

    def copy(self) -> bool:
        """Copy Redis, to restore it later."""
        self._copies = [*self._copies[-1:], self.world.redis.copy()]
        return False

    def restore(self) -> bool:
        """Have Redis go on from an older copy."""
        if not self._copies:
            return False
        copy = self.world.rng.choice(self._copies)
        self.world.redis.restore(copy)
        self.world.tell("chaos", "Redis is restored from a copy:", copy.progress, copy.lists)
        return True

    def redis_away(self) -> bool:
        """Have Redis stop answering, or answer again; what it holds is kept."""
        self.world.redis.up = not self.world.redis.up
        self.world.tell("chaos", "Redis is", "up" if self.world.redis.up else "away")
        return True

    def break_connection(self) -> bool:
        """Break the read service's connection to Redis."""
        self.world.redis.break_connection()
        self.world.tell("chaos", "the read service loses its connection to Redis")
        return True

    def expire(self) -> bool:
        """Let a list or a body expire; a list being built and a lease do so too."""
        redis = self.world.redis
        if redis.lists and self.world.rng.random() < 0.6:
            list_ = self.world.rng.choice(list(redis.lists))
            del redis.lists[list_]
            self.world.tell("chaos", f"{list_} expires")
        elif redis.bodies:
            body = self.world.rng.choice(list(redis.bodies))
            redis.put_body(body, None)
            self.world.tell("chaos", f"the body of t{body} expires")
        return True

    def lose_progress(self) -> bool:
        """Lose one progress key, and not the lists of its shard."""
        key = (self.world.rng.randrange(SHARDS), self.world.rng.randrange(PARTITIONS))
        self.world.redis.lose_progress(key)
        # A copy without the key, restored between a worker's drop and its creation of the key,
        # would need both faults in those two milliseconds.
        self._copies.clear()
        self.world.tell("chaos", f"progress {key[0]}/{key[1]} is lost")
        return True

    def retention(self) -> bool:
        """Have Kafka delete its oldest records, also such as are not yet applied."""
        kafka = self.world.kafka
        partition = self.world.rng.randrange(PARTITIONS)
        kafka.low[partition] = self.world.rng.randint(kafka.low[partition], kafka.end(partition))
        self.world.tell("chaos", f"Kafka keeps {partition} from {kafka.low[partition]} on")
        return True

    def topic_anew(self) -> bool:
        """Delete the topic and create it."""
        self.world.kafka.create_anew()
        self.world.tell("chaos", "the topic is created anew")
        return True

    def rebalance(self) -> bool:
        """Give a partition to the other worker; neither is told at once."""
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
        self.world.postgres.relay_lock = None
        self.world.tell("chaos", f"{name} is killed")
        return True

    def cut_relay(self) -> bool:
        """End the relay's session, which it notices at its next statement."""
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

    def _stall(self, name: str) -> None:
        """Let an actor take no step for a while, most of the time."""
        for actor in self.actors:
            if actor.name == name:
                actor.asleep = self.world.rng.choice((0, 50, 200, 600))

    def _replace(self, name: str, steps: Steps[None]) -> None:
        for actor in self.actors:
            if actor.name == name:
                actor.steps = steps


FAULTS: dict[str, Callable[[Chaos], bool]] = {
    "Redis emptied": Chaos.flush,
    "Redis copied": Chaos.copy,
    "Redis restored": Chaos.restore,
    "Redis away": Chaos.redis_away,
    "reader's connection broken": Chaos.break_connection,
    "key expired": Chaos.expire,
    "progress key lost": Chaos.lose_progress,
    "retention": Chaos.retention,
    "topic created anew": Chaos.topic_anew,
    "rebalance": Chaos.rebalance,
    "worker killed": Chaos.kill_worker,
    "relay killed": Chaos.kill_relay,
    "relay's session ended": Chaos.cut_relay,
    "replay": Chaos.replay,
    "dead letters replayed": Chaos.replay_letters,
}
