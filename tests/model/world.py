"""The world of one run: its servers, its random numbers, and its story."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from model.events import Event
from model.kafka import Kafka
from model.local_cache import LocalCache
from model.postgres import Clock, Moment, Postgres, Replica, Snapshot
from model.redis import Redis, Space
from model.rules import Rules

T = TypeVar("T")

# What an actor does. Each `yield` ends an atomic step, after which any actor may be next.
Steps = Generator[None, None, T]


class ViolationError(Exception):
    """A promise was broken."""


@dataclass(frozen=True)
class Acknowledged:
    """A command whose client got an answer."""

    server: Postgres
    """Where it was committed."""
    lsn: int
    token: Moment


@dataclass
class World:
    """Everything that the actors of a run share."""

    rules: Rules
    rng: random.Random
    pull_followers: int
    """Authors with more followers become pull authors; 0 means that no author does."""
    unreadable: float = 0.0
    """How often a record is unreadable."""
    undelivered: float = 0.0
    """How often Kafka does not report a delivery."""
    batch_sizes: Sequence[int] = (1,)
    """How many records of a partition a worker takes at once, at most."""
    chunk_sizes: Sequence[int] = (1,)
    """How many commands a chunk has, at most."""
    local_lists: bool = False
    """Whether the read service keeps lists in its process."""
    partitions: bool = False
    """Whether the relay empties partitions of the outbox."""
    telling: bool = False
    """Whether the story is kept."""
    clock: Clock = field(default_factory=Clock)
    postgres: Postgres = field(init=False)
    """The primary to which new sessions go. Sessions on a former one may still be open."""
    replica: Replica = field(init=False)
    """The replica to which new sessions go; perhaps one of a former primary."""
    servers: list[Postgres] = field(default_factory=list)
    """Only for checks: all primaries that ever existed."""
    known: str | None = None
    """The history that the read service believes to be valid."""
    kafka: Kafka = field(default_factory=Kafka)
    redis: Redis = field(default_factory=Redis)
    local_cache: LocalCache = field(init=False)
    story: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    assigned: dict[int, str] = field(default_factory=dict)
    """Which worker the consumer group gives a partition to."""
    in_flight: list[Steps[None]] = field(default_factory=list)
    """Actors that deliver what a producer had in flight when the relay gave it up."""
    places: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """Only for checks, by history and event: (topic, offset) of the last copy in Kafka."""
    events: dict[int, Event] = field(default_factory=dict)
    """Only for checks: the event that has each id."""
    acknowledged: list[Acknowledged] = field(default_factory=list)
    unpaged: set[str] = field(default_factory=set)
    """Only for checks: histories whose pages are not checked, because Kafka was restored from an
    older copy, or an older state was loaded into Postgres."""
    loaded: list[tuple[Snapshot, Sequence[Snapshot]]] = field(default_factory=list)
    """Only for checks: the commits that loaded an older state, and that state's past."""
    quiet: bool = False
    """The commands are over: no more faults, only draining."""
    _token: int = 0

    def __post_init__(self) -> None:
        """Start Postgres, and the read service's process."""
        self.promote(Postgres(self.rules, self.clock))
        self.replica = Replica(self.postgres)
        self.local_cache = LocalCache(self.rules, self.redis)

    def promote(self, postgres: Postgres) -> None:
        """Make this server the primary."""
        self.postgres = postgres
        self.servers.append(postgres)

    def space(self, history: str) -> Space:
        """Return the keys of a history in Redis."""
        return self.redis.space(history if self.rules.keys_by_history else "")

    def tell(self, who: str, *what: object) -> None:
        """Add a line to the story."""
        if self.telling:
            self.story.append(f"{who:>9}  " + " ".join(map(str, what)))

    def chance(self, probability: float) -> bool:
        """Return True with this probability; never while the run drains."""
        return not self.quiet and self.rng.random() < probability

    def new_token(self) -> str:
        """Return a name for a lease that no other lease has."""
        self._token += 1
        return str(self._token)
