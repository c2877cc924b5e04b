"""What is wrong with the settings of the servers that Fanfare runs on.

Each function here takes what a server says about itself, and returns a sentence for each setting
that Fanfare cannot be right with, or that it should not be run with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from core.feed.sharding import PARTITIONS

MIN_POSTGRES = 14
MIN_REDIS = 6
# From three replicas on one may be away while two still have each record.
MANY_REPLICAS = 3
MIN_IN_SYNC = 2


class Severity(IntEnum):
    """How bad a finding is; the values are the levels of `logging`."""

    NOTE = 20
    """Nothing is at risk; an operator may want to know."""
    WARNING = 30
    """Something costs more, or is less safe, than it has to be."""
    ERROR = 40
    """A promise does not hold: acknowledged commands may be lost, or timelines be wrong."""


@dataclass(frozen=True)
class Finding:
    """Something that an operator should know about a server."""

    severity: Severity
    text: str
    """One sentence with what is wrong and what to do."""


@dataclass(frozen=True)
class PostgresSettings:
    """What Postgres says about itself to a connection of Fanfare's."""

    version: int
    """As server_version_num: 180006 is 18.6."""
    fsync: str
    full_page_writes: str
    synchronous_commit: str


@dataclass(frozen=True)
class TopicSettings:
    """What Kafka says about a topic."""

    name: str
    partitions: int
    replicas: int
    """Of the partition that has the fewest."""
    has_id: bool
    config: Mapping[str, str] | None = field(default_factory=dict)
    """The values in force; None where Kafka does not tell them to Fanfare's user."""


def postgres_findings(settings: PostgresSettings) -> list[Finding]:
    """Return what is wrong with the settings of a Postgres primary."""
    found = []
    if settings.version < MIN_POSTGRES * 10_000:
        found.append(
            f"Postgres is version {settings.version // 10_000}, and Fanfare needs {MIN_POSTGRES} "
            "or newer: upgrade it"
        )
    if settings.fsync == "off":
        found.append(
            "fsync is off in Postgres, so that a crash may lose acknowledged commands and damage "
            "the database: set fsync = on"
        )
    if settings.full_page_writes == "off":
        found.append(
            "full_page_writes is off in Postgres, so that a crash may damage the database: set "
            "full_page_writes = on"
        )
    if settings.synchronous_commit in {"off", "local"}:
        found.append(
            f"synchronous_commit is {settings.synchronous_commit} in Postgres, so that "
            "acknowledged commands may be lost and timelines be wrong afterwards: set "
            "synchronous_commit = on, for Fanfare's role and database too"
        )
    return [Finding(Severity.ERROR, text) for text in found]


def redis_findings(info: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with the settings of a Redis or Valkey.

    Args:
        info: what INFO answers. Services in the cloud may leave fields out; what is not there is
            not checked.
    """
    found = []
    version = str(info.get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < MIN_REDIS:
        found.append(
            Finding(
                Severity.ERROR,
                f"Redis is version {version}, and Fanfare needs {MIN_REDIS} or newer: upgrade it",
            )
        )
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-"):
        found.append(
            Finding(
                Severity.ERROR,
                f"maxmemory-policy is {policy} in Redis, which evicts checkpoints too, and with "
                "them all cached timelines: set maxmemory-policy volatile-lru",
            )
        )
    if policy == "noeviction" and int(info.get("maxmemory", 0)):
        found.append(
            Finding(
                Severity.WARNING,
                "maxmemory-policy is noeviction in Redis, which has a memory limit: once it is "
                "reached, Postgres serves the timelines: set maxmemory-policy volatile-lru",
            )
        )
    if info.get("aof_enabled") == 0:
        found.append(
            Finding(
                Severity.NOTE,
                "appendonly is no in Redis: after a restart of Redis timelines may have to be "
                "built again, which Postgres has the work of",
            )
        )
    return found


def topic_findings(settings: TopicSettings) -> list[Finding]:
    """Return what is wrong with the settings of the feed's topic."""
    topic = f"the topic {settings.name}"
    errors, warnings = [], []
    if settings.partitions != PARTITIONS:
        errors.append(
            f"{topic} has {settings.partitions} partitions, and Fanfare needs {PARTITIONS}: "
            "delete it, and run `fanfare migrate`"
        )
    if not settings.has_id:
        errors.append(
            "Kafka gives topics no ids, so it is older than 2.8 or runs as an older version: "
            "upgrade it"
        )
    if settings.config is None:
        warnings.append(
            f"Kafka does not tell Fanfare's user the configuration of {topic}, so it is not "
            "checked: allow the operation DescribeConfigs on it"
        )
    config = settings.config or {}
    if (policy := config.get("cleanup.policy", "delete")) != "delete":
        errors.append(
            f"cleanup.policy of {topic} is {policy}, by which Kafka removes events that a worker "
            "may still need: set cleanup.policy=delete"
        )
    if config.get("unclean.leader.election.enable") == "true":
        errors.append(
            f"unclean.leader.election.enable of {topic} is true, by which Kafka may lose "
            "acknowledged events: set unclean.leader.election.enable=false"
        )
    in_sync = int(config.get("min.insync.replicas", MIN_IN_SYNC))
    if settings.replicas >= MANY_REPLICAS and in_sync < MIN_IN_SYNC:
        warnings.append(
            f"min.insync.replicas of {topic} is {in_sync}, so that the only broker which has an "
            f"event may lose it: set min.insync.replicas={MIN_IN_SYNC}"
        )
    return [
        *(Finding(Severity.ERROR, text) for text in errors),
        *(Finding(Severity.WARNING, text) for text in warnings),
    ]
