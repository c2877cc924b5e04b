"""Rules for the settings of Postgres, Redis and Kafka.

Each function takes the settings of one server, and returns a finding for every setting that is
wrong, wasteful or unsafe. Severity says how bad each of them is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
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


@dataclass(frozen=True)
class Finding:
    """A setting of a server that an operator should change or know about."""

    severity: Severity
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
    statement_timeout: str
    idle_in_transaction_session_timeout: str


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
    errors, warnings = [], []
    if settings.version < MIN_POSTGRES * 10_000:
        errors.append(
            f"Postgres is version {settings.version // 10_000}, which is too old; upgrade it to "
            f"{MIN_POSTGRES} or newer"
        )
    if settings.fsync == "off":
        errors.append(
            "fsync is off in Postgres, so a crash can lose acknowledged commands and damage the "
            "database; set fsync = on"
        )
    if settings.full_page_writes == "off":
        errors.append(
            "full_page_writes is off in Postgres, so a crash can damage the database; set "
            "full_page_writes = on"
        )
    if settings.synchronous_commit in {"off", "local"}:
        errors.append(
            f"synchronous_commit is {settings.synchronous_commit} in Postgres, so a crash can lose "
            "acknowledged commands and leave wrong timelines behind; set synchronous_commit = on "
            "in Postgres, and for Fanfare's role and database"
        )
    if settings.autovacuum == "off":
        warnings.append(
            "autovacuum is off in Postgres, so deleted rows stay in its files, and tables grow; "
            "set autovacuum = on"
        )
    if settings.archive_timeout == "0":
        warnings.append(
            "archive_timeout is 0 in Postgres, so deleted data stay in the write-ahead log of a "
            "quiet server; set archive_timeout = 30min"
        )
    # Fanfare sets both when it connects.
    warnings += [
        f"{name} is 0 for Fanfare's connections, since a pooler does not pass it on to Postgres, "
        "so what hangs can hold locks for ever; set it for Fanfare's role, as described in "
        '"Connection poolers" in docs/operations.md'
        for name in ("statement_timeout", "idle_in_transaction_session_timeout")
        if getattr(settings, name) == "0"
    ]
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
                f"Redis is version {version}, which is too old; upgrade it to {MIN_REDIS} or newer",
            )
        )
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-"):
        found.append(
            Finding(
                Severity.ERROR,
                f"maxmemory-policy is {policy} in Redis, so Redis can evict checkpoints, and all "
                "cached timelines are lost then; set maxmemory-policy volatile-lru",
            )
        )
    if policy == "noeviction" and int(info.get("maxmemory", 0)):
        found.append(
            Finding(
                Severity.WARNING,
                "maxmemory-policy is noeviction in Redis, so Redis refuses writes when it reaches "
                "its memory limit, and Postgres has to serve the timelines then; set "
                "maxmemory-policy volatile-lru",
            )
        )
    if info.get("aof_enabled") == 0:
        found.append(
            Finding(
                Severity.NOTE,
                "appendonly is no in Redis, so after a restart of Redis all timelines must be "
                "built again from Postgres; set appendonly yes if that is too much work",
            )
        )
    if info.get("aof_last_bgrewrite_status") == "err":
        found.append(
            Finding(
                Severity.WARNING,
                "the last rewrite of Redis' append-only file failed, so deleted data stay in it; "
                "see the log of Redis, which has the cause",
            )
        )
    return found


def topic_findings(settings: TopicSettings) -> list[Finding]:
    """Return the findings for the topic of the feed."""
    topic = f"the topic {settings.name}"
    errors, warnings = [], []
    if settings.partitions != PARTITIONS:
        errors.append(
            f"{topic} has {settings.partitions} partitions, but Fanfare needs {PARTITIONS}; "
            "delete it and run `fanfare migrate`"
        )
    if not settings.has_id:
        errors.append(
            "Kafka does not give topics ids, since it is older than 2.8 or configured to behave "
            "like an older version; upgrade it"
        )
    if settings.config is None:
        warnings.append(
            f"the configuration of {topic} cannot be checked, since Fanfare's user may not read "
            "it; allow the operation DescribeConfigs on the topic"
        )
    config = settings.config or {}
    if (policy := config.get("cleanup.policy", "delete")) != "delete":
        errors.append(
            f"cleanup.policy of {topic} is {policy}, so Kafka removes events that a worker may "
            "still need; set cleanup.policy=delete"
        )
    if config.get("unclean.leader.election.enable") == "true":
        errors.append(
            f"unclean.leader.election.enable of {topic} is true, so Kafka can lose acknowledged "
            "events; set unclean.leader.election.enable=false"
        )
    in_sync = int(config.get("min.insync.replicas", MIN_IN_SYNC))
    if settings.replicas >= MANY_REPLICAS and in_sync < MIN_IN_SYNC:
        warnings.append(
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
    return [Finding(Severity.WARNING, text)]


def _findings(errors: Sequence[str], warnings: Sequence[str]) -> list[Finding]:
    return [
        *(Finding(Severity.ERROR, text) for text in errors),
        *(Finding(Severity.WARNING, text) for text in warnings),
    ]
