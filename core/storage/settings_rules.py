"""Rules for the settings of Postgres, Redis and Kafka.

Each function takes the settings of one server, and returns a finding for every setting that is
wrong, wasteful or unsafe. Severity says how bad each of them is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from core.feed.sharding import PARTITIONS
from core.storage.retention import longest_days

MIN_POSTGRES = 14
MIN_REDIS = 6
# With this many replicas, two still have every record while one of them is down.
MANY_REPLICAS = 3
MIN_IN_SYNC = 2


class Severity(IntEnum):
    """How bad a finding is. The values are levels of `logging`."""

    NOTE = 20
    """Nothing is at risk, but an operator may want to know."""
    WARNING = 30
    """Something costs more, or is less safe, than it has to be."""
    ERROR = 40
    """Acknowledged commands may be lost, or timelines may be wrong."""


class Rule(StrEnum):
    """The rules, by the servers that they are about."""

    POSTGRES_VERSION = "postgres_version"
    POSTGRES_FSYNC = "postgres_fsync"
    POSTGRES_FULL_PAGE_WRITES = "postgres_full_page_writes"
    POSTGRES_SYNCHRONOUS_COMMIT = "postgres_synchronous_commit"
    POSTGRES_AUTOVACUUM = "postgres_autovacuum"
    POSTGRES_ARCHIVE_TIMEOUT = "postgres_archive_timeout"
    REDIS_VERSION = "redis_version"
    REDIS_EVICTION = "redis_eviction"
    REDIS_APPEND_ONLY = "redis_append_only"
    REDIS_REWRITE = "redis_rewrite"
    REDIS_INFO = "redis_info"
    KAFKA_TOPIC = "kafka_topic"
    KAFKA_PARTITIONS = "kafka_partitions"
    KAFKA_TOPIC_ID = "kafka_topic_id"
    KAFKA_CONFIG = "kafka_config"
    KAFKA_CLEANUP_POLICY = "kafka_cleanup_policy"
    KAFKA_UNCLEAN_ELECTION = "kafka_unclean_election"
    KAFKA_IN_SYNC = "kafka_in_sync"
    KAFKA_RETENTION = "kafka_retention"


@dataclass(frozen=True)
class Finding:
    """A setting of a server that an operator should change or know about."""

    severity: Severity
    rule: Rule
    """The rule that it breaks."""
    text: str
    """What is wrong, then what to do."""


@dataclass(frozen=True)
class PostgresSettings:
    """The settings of Postgres, as they apply to a connection of Fanfare."""

    version: int
    """The setting server_version_num: 180006 is 18.6."""
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    autovacuum: str
    archive_timeout: str


@dataclass(frozen=True)
class TopicSettings:
    """The settings of a Kafka topic."""

    name: str
    partitions: int
    replicas: int
    """How many replicas the partition with the fewest has."""
    has_id: bool
    """Whether Kafka gives topics an id."""
    config: Mapping[str, str] | None = field(default_factory=dict)
    """The effective configuration; None if Fanfare's user may not read it."""


def postgres_findings(settings: PostgresSettings) -> list[Finding]:
    """Return the findings for a Postgres primary."""
    errors: dict[Rule, str] = {}
    warnings: dict[Rule, str] = {}
    if settings.version < MIN_POSTGRES * 10_000:
        errors[Rule.POSTGRES_VERSION] = (
            f"Postgres is version {settings.version // 10_000}, which is too old; upgrade it to "
            f"{MIN_POSTGRES} or newer"
        )
    if settings.fsync == "off":
        errors[Rule.POSTGRES_FSYNC] = (
            "fsync is off in Postgres, so a crash can lose acknowledged commands and damage the "
            "database; set fsync = on"
        )
    if settings.full_page_writes == "off":
        errors[Rule.POSTGRES_FULL_PAGE_WRITES] = (
            "full_page_writes is off in Postgres, so a crash can damage the database; set "
            "full_page_writes = on"
        )
    if settings.synchronous_commit in {"off", "local"}:
        errors[Rule.POSTGRES_SYNCHRONOUS_COMMIT] = (
            f"synchronous_commit is {settings.synchronous_commit} in Postgres, so a crash can lose "
            "acknowledged commands and leave wrong timelines behind; set synchronous_commit = on "
            "in Postgres, and for Fanfare's role and database"
        )
    if settings.autovacuum == "off":
        warnings[Rule.POSTGRES_AUTOVACUUM] = (
            "autovacuum is off in Postgres, so deleted rows stay in its files, and tables grow; "
            "set autovacuum = on"
        )
    if settings.archive_timeout == "0":
        warnings[Rule.POSTGRES_ARCHIVE_TIMEOUT] = (
            "archive_timeout is 0 in Postgres, so deleted data stay in the write-ahead log of a "
            "quiet server; set archive_timeout = 30min"
        )
    return _findings(errors, warnings)


def redis_findings(info: Mapping[str, Any]) -> list[Finding]:
    """Return the findings for a Redis or Valkey server.

    Args:
        info: the reply to INFO. Fields that are missing are not checked, since managed services
            leave some out.
    """
    found = []
    version = str(info.get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < MIN_REDIS:
        found.append(
            Finding(
                Severity.ERROR,
                Rule.REDIS_VERSION,
                f"Redis is version {version}, which is too old; upgrade it to {MIN_REDIS} or newer",
            )
        )
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-"):
        found.append(
            Finding(
                Severity.ERROR,
                Rule.REDIS_EVICTION,
                f"maxmemory-policy is {policy} in Redis, so Redis can evict checkpoints, and all "
                "cached timelines are lost then; set maxmemory-policy volatile-lru",
            )
        )
    if policy == "noeviction" and int(info.get("maxmemory", 0)):
        found.append(
            Finding(
                Severity.WARNING,
                Rule.REDIS_EVICTION,
                "maxmemory-policy is noeviction in Redis, so Redis refuses writes when it reaches "
                "its memory limit, and Postgres has to serve the timelines then; set "
                "maxmemory-policy volatile-lru",
            )
        )
    if info.get("aof_enabled") == 0:
        found.append(
            Finding(
                Severity.NOTE,
                Rule.REDIS_APPEND_ONLY,
                "appendonly is no in Redis, so after a restart of Redis all timelines must be "
                "built again from Postgres; set appendonly yes if that is too much work",
            )
        )
    if info.get("aof_last_bgrewrite_status") == "err":
        found.append(
            Finding(
                Severity.WARNING,
                Rule.REDIS_REWRITE,
                "the last rewrite of Redis' append-only file failed, so deleted data stay in it; "
                "see the log of Redis, which has the cause",
            )
        )
    return found


def topic_findings(settings: TopicSettings) -> list[Finding]:
    """Return the findings for the topic of the feed."""
    topic = f"the topic {settings.name}"
    errors: dict[Rule, str] = {}
    warnings: dict[Rule, str] = {}
    if settings.partitions != PARTITIONS:
        errors[Rule.KAFKA_PARTITIONS] = (
            f"{topic} has {settings.partitions} partitions, but Fanfare needs {PARTITIONS}; "
            "delete it and run `fanfare migrate`"
        )
    if not settings.has_id:
        errors[Rule.KAFKA_TOPIC_ID] = (
            "Kafka does not give topics ids, since it is older than 2.8 or configured to behave "
            "like an older version; upgrade it"
        )
    if settings.config is None:
        warnings[Rule.KAFKA_CONFIG] = (
            f"the configuration of {topic} cannot be checked, since Fanfare's user may not read "
            "it; allow the operation DescribeConfigs on the topic"
        )
    config = settings.config or {}
    if (policy := config.get("cleanup.policy", "delete")) != "delete":
        errors[Rule.KAFKA_CLEANUP_POLICY] = (
            f"cleanup.policy of {topic} is {policy}, so Kafka removes events that a worker may "
            "still need; set cleanup.policy=delete"
        )
    if config.get("unclean.leader.election.enable") == "true":
        errors[Rule.KAFKA_UNCLEAN_ELECTION] = (
            f"unclean.leader.election.enable of {topic} is true, so Kafka can lose acknowledged "
            "events; set unclean.leader.election.enable=false"
        )
    in_sync = int(config.get("min.insync.replicas", MIN_IN_SYNC))
    if settings.replicas >= MANY_REPLICAS and in_sync < MIN_IN_SYNC:
        warnings[Rule.KAFKA_IN_SYNC] = (
            f"min.insync.replicas of {topic} is {in_sync}, so an event can be lost with the only "
            f"broker that has it; set min.insync.replicas={MIN_IN_SYNC}"
        )
    return _findings(errors, warnings)


def retention_findings(name: str, config: Mapping[str, str], days: float) -> list[Finding]:
    """Return the findings for how long a topic keeps its records.

    Args:
        name: the topic.
        config: its effective configuration.
        days: FANFARE_RETENTION_DAYS.
    """
    longest = longest_days(config)
    if longest <= days:
        return []
    kept = "for ever" if math.isinf(longest) else f"for up to {longest:.3g} days"
    text = (
        f"the topic {name} keeps records {kept}, longer than FANFARE_RETENTION_DAYS; run "
        "`fanfare migrate`, which sets retention.ms and segment.ms"
    )
    return [Finding(Severity.WARNING, Rule.KAFKA_RETENTION, text)]


def _findings(errors: Mapping[Rule, str], warnings: Mapping[Rule, str]) -> list[Finding]:
    return [
        *(Finding(Severity.ERROR, rule, text) for rule, text in errors.items()),
        *(Finding(Severity.WARNING, rule, text) for rule, text in warnings.items()),
    ]
