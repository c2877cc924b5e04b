"""The focus of a run: which commands and faults it draws, and how often."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

COMMANDS: Mapping[str, float] = {
    "create": 50,
    "update": 9,
    "delete": 9,
    "follow": 15,
    "unfollow": 15,
    "delete user": 2,
}


@dataclass(frozen=True)
class Focus:
    """The values from which a run draws its parameters, and the weights of commands and faults."""

    faults: Mapping[str, float] | None = None
    """The weights of the faults; None if each run draws its own."""
    commands: Mapping[str, float] = field(default_factory=lambda: COMMANDS)
    """The weights of the commands."""
    commands_each: Sequence[int] = (3, 8, 16)
    """How many commands a client sends."""
    users: Sequence[int] = (3, 5)
    pull_followers: Sequence[int] = (0, 0, 1, 2)
    fault_rates: Sequence[float] = (0.0, 0.003, 0.01, 0.03)
    unreadable: Sequence[float] = (0.0, 0.0, 0.03, 0.1)
    """How often a record is unreadable."""
    undelivered: Sequence[float] = (0.0, 0.0, 0.02, 0.1)
    """How often a delivery to Kafka is not reported."""
    replica_rates: Sequence[float] = (0.0, 0.01, 0.04, 0.1)
    """How often the replica moves on."""
    batch_sizes: Sequence[int] = (1, 2, 5, 100)
    """How many records of a partition a worker takes at once, at most."""
    chunk_sizes: Sequence[int] = (1, 2, 100)
    """How many commands a chunk has, at most."""
    reads_by_id: bool = False
    """Whether tweets are also read by their ids."""
    local_lists: bool = False
    """Whether the read service keeps lists in its process."""
    partitions: bool = False
    """Whether the relay empties partitions of the outbox."""

    def draw_faults(self, rng: random.Random, names: Sequence[str]) -> dict[str, float]:
        """Return the weights of the faults in one run."""
        if self.faults is not None:
            return {name: self.faults.get(name, 0.0) for name in names}
        return {name: rng.choice((0.0, 0.0, 1.0, 4.0)) for name in names}


_EDGES = {"create": 30, "follow": 35, "unfollow": 35}
_TEXTS = {"create": 25, "update": 50, "delete": 10, "follow": 10}

FOCUSES: Mapping[str, Focus] = {
    "all": Focus(),
    "relay": Focus(
        faults={"relay killed": 1, "relay's session ended": 3, "key expired": 1},
        unreadable=(0.0,),
        fault_rates=(0.01, 0.03),
        commands=_EDGES,
        users=(2,),
        pull_followers=(0,),
    ),
    "worker": Focus(
        faults={"rebalance": 5, "worker killed": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.02, 0.05),
        commands={"create": 50, "follow": 25, "unfollow": 25},
        commands_each=(8, 16),
        users=(2,),
        pull_followers=(0,),
    ),
    "checkpoints": Focus(
        faults={"rebalance": 5, "key expired": 2},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.03, 0.06),
        commands=_EDGES,
        commands_each=(16,),
        users=(3,),
        pull_followers=(0,),
    ),
    "redis": Focus(
        faults={"Redis emptied": 2, "checkpoint lost": 2, "relay's session ended": 2},
        unreadable=(0.0,),
        undelivered=(0.0, 0.02),
        fault_rates=(0.003, 0.01),
        commands=_EDGES,
        users=(2, 3),
        pull_followers=(0,),
        replica_rates=(0.0, 0.01, 0.03),
    ),
    "restore": Focus(
        faults={"Redis copied": 2, "Redis restored": 2, "key expired": 2},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.003, 0.01),
        pull_followers=(0,),
    ),
    "fork": Focus(
        faults={
            "Postgres copied": 2,
            "Postgres restored": 2,
            "Postgres restarted": 1,
            "Postgres emptied": 0.3,
            "replica cloned": 2,
            "relay's session ended": 1,
            "key expired": 1,
        },
        unreadable=(0.0,),
        undelivered=(0.0, 0.02),
        fault_rates=(0.003, 0.01, 0.02),
        users=(2, 3),
        pull_followers=(0,),
    ),
    "failover": Focus(
        faults={
            "Postgres failed over": 3,
            "Postgres failed back": 1,
            "replica cloned": 2,
            "relay's session ended": 2,
            "key expired": 1,
            "recovered": 0.3,
        },
        unreadable=(0.0,),
        undelivered=(0.0, 0.02),
        fault_rates=(0.003, 0.01, 0.02),
        users=(2, 3),
        pull_followers=(0,),
    ),
    "copies": Focus(
        faults={
            "Redis copied": 1,
            "Redis restored": 1,
            "Kafka copied": 2,
            "Kafka restored": 2,
            "Postgres copied": 1,
            "Postgres restored": 1,
            "all copied": 1,
            "all restored": 1,
            "recovered": 0.3,
            "worker killed": 1,
        },
        unreadable=(0.0,),
        undelivered=(0.0, 0.02),
        fault_rates=(0.003, 0.01, 0.02),
        users=(2, 3),
        pull_followers=(0,),
    ),
    "log": Focus(
        faults={"Kafka copied": 16, "Kafka restored": 3},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.01, 0.03),
        commands_each=(8, 16),
        users=(2,),
        pull_followers=(0,),
    ),
    "put back": Focus(
        faults={"Postgres copied": 4, "Postgres put back": 2, "relay killed": 2},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.003, 0.01, 0.02),
        commands_each=(8, 16),
        users=(2, 3),
        pull_followers=(0,),
    ),
    "old offsets": Focus(
        faults={"Kafka copied": 4, "Kafka restored": 4, "rebalance": 3},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.01, 0.03),
        commands=_TEXTS,
        commands_each=(8, 16),
        users=(2,),
        pull_followers=(0,),
    ),
    "forked texts": Focus(
        faults={"Postgres copied": 2, "Postgres restored": 2, "key expired": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.003, 0.01),
        commands=_TEXTS,
        users=(2,),
        pull_followers=(0,),
    ),
    "kafka": Focus(
        faults={"retention": 2, "topic recreated": 3, "worker killed": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.003, 0.01),
        users=(3,),
        pull_followers=(0,),
    ),
    "unreadable": Focus(
        faults={"worker killed": 1, "dead letters replayed": 4, "key expired": 1},
        unreadable=(0.05, 0.2),
        undelivered=(0.0,),
        fault_rates=(0.003, 0.01),
        users=(3,),
        pull_followers=(0,),
    ),
    "tweet cache": Focus(
        faults={"key expired": 4, "rebalance": 1, "Redis away": 0.2},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.01, 0.03),
        commands=_TEXTS,
        users=(3,),
        pull_followers=(0,),
    ),
    "local cache": Focus(
        faults={"reader's connection broken": 2, "key expired": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.003, 0.01),
        commands=_TEXTS,
        commands_each=(8, 16),
        users=(2,),
        pull_followers=(0,),
    ),
    "pulled": Focus(
        faults={"key expired": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.003, 0.01),
        pull_followers=(1, 2),
    ),
    "replay": Focus(
        faults={"replay": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.002, 0.005),
        commands=_EDGES,
        users=(2,),
        pull_followers=(0,),
    ),
    "erasure": Focus(
        faults={
            "Postgres copied": 2,
            "Postgres restored": 1,
            "Postgres failed over": 1,
            "Postgres restarted": 1,
            "Postgres put back": 1,
            "key expired": 2,
            "relay killed": 1,
        },
        commands={"create": 50, "update": 5, "follow": 20, "unfollow": 5, "delete user": 20},
        unreadable=(0.0,),
        undelivered=(0.0, 0.02),
        fault_rates=(0.003, 0.01),
        users=(5,),
        pull_followers=(0, 0, 1),
    ),
    "edges": Focus(
        faults={},
        commands=_EDGES,
        unreadable=(0.0,),
        undelivered=(0.0,),
        users=(2,),
        pull_followers=(0,),
    ),
    "lag": Focus(
        faults={"key expired": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.01, 0.03),
        users=(2, 3),
        pull_followers=(0,),
        replica_rates=(0.0, 0.01, 0.03),
    ),
    "by id": Focus(
        faults={"key expired": 6, "rebalance": 1, "Redis away": 0.2},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.01, 0.03, 0.06),
        commands=_TEXTS,
        users=(3,),
        pull_followers=(0,),
        reads_by_id=True,
    ),
    "chunks": Focus(
        faults={"key expired": 8, "rebalance": 2},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.03, 0.06),
        commands=_TEXTS,
        commands_each=(16, 30),
        users=(2,),
        pull_followers=(0,),
        batch_sizes=(5, 100),
        chunk_sizes=(1,),
    ),
    "local lists": Focus(
        faults={"reader's connection broken": 2, "key expired": 1},
        unreadable=(0.0,),
        undelivered=(0.0,),
        fault_rates=(0.0, 0.003, 0.01),
        commands={"create": 40, "update": 10, "delete": 10, "follow": 20, "unfollow": 20},
        commands_each=(8, 16),
        users=(2,),
        pull_followers=(0,),
        local_lists=True,
    ),
    "all and local lists": Focus(local_lists=True),
    "partitions": Focus(
        faults={"replay": 2, "relay killed": 1, "relay's session ended": 1},
        unreadable=(0.0,),
        undelivered=(0.0, 0.02),
        fault_rates=(0.002, 0.01),
        commands=_EDGES,
        users=(2,),
        pull_followers=(0,),
        partitions=True,
    ),
    "all and partitions": Focus(partitions=True),
}
