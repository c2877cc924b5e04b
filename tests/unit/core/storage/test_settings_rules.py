"""The findings that the rules return for the settings of a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.storage.settings_rules import (
    Finding,
    PostgresSettings,
    Severity,
    TopicSettings,
    postgres_findings,
    redis_findings,
    retention_findings,
    topic_findings,
)

POSTGRES = PostgresSettings(180006, "on", "on", "on", "on", "30min", "10s", "15s")
REDIS = {
    "redis_version": "7.2.4",
    "maxmemory_policy": "volatile-lru",
    "maxmemory": 1 << 30,
    "aof_enabled": 1,
    "aof_last_bgrewrite_status": "ok",
}
CONFIG = {
    "cleanup.policy": "delete",
    "unclean.leader.election.enable": "false",
    "min.insync.replicas": "2",
}
TOPIC = TopicSettings("feed", 12, 3, has_id=True, config=CONFIG)


def _only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    # It says what is wrong, then what to do.
    assert "; " in finding.text
    assert not finding.text.endswith(".")
    return finding


def test_good_settings_have_no_findings() -> None:
    """The settings that docs/operations.md asks for pass, and so do those of the embedded stack."""
    assert postgres_findings(POSTGRES) == []
    assert redis_findings(REDIS) == []
    assert redis_findings({**REDIS, "maxmemory_policy": "noeviction", "maxmemory": 0}) == []
    assert topic_findings(TOPIC) == []
    single = {**CONFIG, "min.insync.replicas": "1"}
    assert topic_findings(replace(TOPIC, replicas=1, config=single)) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("version", 130021, "version 13"),
        ("fsync", "off", "fsync is off"),
        ("full_page_writes", "off", "full_page_writes is off"),
        ("synchronous_commit", "off", "synchronous_commit is off"),
        ("synchronous_commit", "local", "synchronous_commit is local"),
    ],
)
def test_a_postgres_that_may_lose_commits_is_an_error(name: str, value: Any, told: str) -> None:
    """Every setting by which Postgres may lose commits gets its own finding."""
    finding = _only(postgres_findings(replace(POSTGRES, **{name: value})))
    assert finding.severity is Severity.ERROR
    assert told in finding.text


@pytest.mark.parametrize(("name", "value"), [("autovacuum", "off"), ("archive_timeout", "0")])
def test_a_postgres_that_keeps_deleted_data_is_a_warning(name: str, value: Any) -> None:
    """Without these settings, deleted data stay in the files of a quiet server for ever."""
    finding = _only(postgres_findings(replace(POSTGRES, **{name: value})))
    assert finding.severity is Severity.WARNING
    assert f"{name} is {value}" in finding.text


@pytest.mark.parametrize("name", ["statement_timeout", "idle_in_transaction_session_timeout"])
def test_a_timeout_that_a_pooler_swallowed_is_a_warning(name: str) -> None:
    """Otherwise a statement or a client that hangs could hold its locks for ever."""
    without: dict[str, Any] = {name: "0"}
    finding = _only(postgres_findings(replace(POSTGRES, **without)))
    assert finding.severity is Severity.WARNING
    assert f"{name} is 0" in finding.text


@pytest.mark.parametrize("value", ["remote_write", "remote_apply"])
def test_a_postgres_may_wait_for_its_replicas(value: str) -> None:
    """These values are safe, since Postgres waits for its own disk as well."""
    assert postgres_findings(replace(POSTGRES, synchronous_commit=value)) == []


@pytest.mark.parametrize(
    ("name", "value", "severity", "told"),
    [
        ("redis_version", "5.0.14", Severity.ERROR, "version 5.0.14"),
        ("maxmemory_policy", "allkeys-lru", Severity.ERROR, "allkeys-lru"),
        ("maxmemory_policy", "noeviction", Severity.WARNING, "noeviction"),
        ("aof_enabled", 0, Severity.NOTE, "appendonly"),
        ("aof_last_bgrewrite_status", "err", Severity.WARNING, "append-only file failed"),
    ],
)
def test_each_setting_of_redis_has_its_severity(
    name: str, value: Any, severity: Severity, told: str
) -> None:
    """Losing checkpoints is an error; what only costs more is a warning or a note."""
    finding = _only(redis_findings({**REDIS, name: value}))
    assert finding.severity is severity
    assert told in finding.text


def test_fields_that_redis_leaves_out_are_not_checked() -> None:
    """An empty reply to INFO has no findings."""
    assert redis_findings({}) == []


@pytest.mark.parametrize(
    ("changed", "severity", "told"),
    [
        ({"partitions": 13}, Severity.ERROR, "13 partitions"),
        ({"has_id": False}, Severity.ERROR, "ids"),
        ({"config": {**CONFIG, "cleanup.policy": "compact"}}, Severity.ERROR, "compact"),
        ({"config": {**CONFIG, "cleanup.policy": "compact,delete"}}, Severity.ERROR, "compact"),
        (
            {"config": {**CONFIG, "unclean.leader.election.enable": "true"}},
            Severity.ERROR,
            "unclean.leader.election.enable",
        ),
        (
            {"config": {**CONFIG, "min.insync.replicas": "1"}},
            Severity.WARNING,
            "min.insync.replicas",
        ),
        ({"config": None}, Severity.WARNING, "DescribeConfigs"),
    ],
)
def test_each_setting_of_the_topic_has_its_severity(
    changed: dict[str, Any], severity: Severity, told: str
) -> None:
    """Losing events is an error; what is only less safe than it could be is a warning."""
    finding = _only(topic_findings(replace(TOPIC, **changed)))
    assert finding.severity is severity
    assert told in finding.text


@pytest.mark.parametrize(
    ("retention", "segment", "told"),
    [
        ("-1", "86400000", "for ever"),
        ("604800000", "604800000", "for up to 14 days"),
        ("604800000", "1000", "for up to 7 days"),
    ],
)
def test_a_topic_that_keeps_records_too_long_is_a_warning(
    retention: str, segment: str, told: str
) -> None:
    """A record can be older than retention.ms by the age of its segment."""
    config = {"retention.ms": retention, "segment.ms": segment}
    finding = _only(retention_findings("feed.dlq", config, 7))
    assert finding.severity is Severity.WARNING
    assert told in finding.text
    assert "feed.dlq" in finding.text


def test_a_topic_may_keep_records_for_less_time() -> None:
    """A retention below the limit is the operator's decision."""
    config = {"retention.ms": "518400000", "segment.ms": "86400000"}
    assert retention_findings("feed", config, 7) == []
    assert retention_findings("feed", config, 30) == []
