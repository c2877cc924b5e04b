"""The world of one history: its sizes, its servers, its chance and its story."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

from model.hot_bodies import HotBodies
from model.kafka import Kafka
from model.postgres import Postgres
from model.redis import Redis
from model.rules import Rules

T = TypeVar("T")

# What an actor does: each `yield` ends an atomic step, and any other actor may go on.
Steps = Generator[None, None, T]


class ViolationError(Exception):
    """A promise was broken."""


@dataclass
class World:
    """Everything that the actors of a history share."""

    rules: Rules
    rng: random.Random
    pull_followers: int
    """Authors with more followers are pulled; 0: never."""
    unreadable: float = 0.0
    """How often a record is unreadable."""
    undelivered: float = 0.0
    """How often a delivery to Kafka is not reported."""
    telling: bool = False
    """Whether the story is kept."""
    postgres: Postgres = field(default_factory=Postgres)
    kafka: Kafka = field(default_factory=Kafka)
    redis: Redis = field(default_factory=Redis)
    hot: HotBodies = field(init=False)
    story: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    assigned: dict[int, str] = field(default_factory=dict)
    """Which worker the consumer group gives a partition to."""
    in_flight: list[Steps[None]] = field(default_factory=list)
    """Records that a given-up producer had on their way to Kafka."""
    quiet: bool = False
    """The history is over: no more chance, the rest is drained."""
    _token: int = 0

    def __post_init__(self) -> None:
        """Start the read service's process."""
        self.hot = HotBodies(self.rules, self.redis)

    def tell(self, who: str, *what: object) -> None:
        """Add a line to the story."""
        if self.telling:
            self.story.append(f"{who:>9}  " + " ".join(map(str, what)))

    def chance(self, probability: float) -> bool:
        """Return True so often, and never while the history drains."""
        return not self.quiet and self.rng.random() < probability

    def new_token(self) -> str:
        """Return what no other build or lease has."""
        self._token += 1
        return str(self._token)
