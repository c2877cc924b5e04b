"""Asking the servers for the settings that Fanfare depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import psycopg
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs
    AdminClient,
    ConfigResource,
    ResourceType,
)
from psycopg.rows import class_row
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from core.settings import Settings
from core.storage.kafka import client_settings
from core.storage.postgres import connect
from core.storage.settings_rules import (
    Finding,
    PostgresSettings,
    Severity,
    TopicSettings,
    postgres_findings,
    redis_findings,
    topic_findings,
)

TIMEOUT_SECONDS = 5.0
# What librdkafka gives for a topic of a Kafka that has no ids.
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
_POSTGRES = """
SELECT current_setting('server_version_num')::int AS version,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit
"""

# Returns what is wrong with a server. Raises SettingsUnknownError.
Check = Callable[[], Sequence[Finding]]


class SettingsUnknownError(Exception):
    """The server does not answer, so nobody knows its settings."""


def postgres_check(settings: Settings) -> Check:
    """Return a check of the Postgres primary."""
    return partial(_inspect_postgres, settings.primary_dsn(), settings.silence_seconds)


def redis_check(settings: Settings) -> Check:
    """Return a check of Redis."""
    return partial(_inspect_redis, settings.redis_address())


def topic_check(settings: Settings) -> Check:
    """Return a check of the feed's topic in Kafka."""
    return partial(_inspect_topic, settings.kafka_address(), settings.topic)


def inspect_servers(settings: Settings) -> list[Finding]:
    """Return what is wrong with the servers, as far as they answer now; the worst first."""
    found: list[Finding] = []
    for check in (postgres_check(settings), redis_check(settings), topic_check(settings)):
        try:
            found += check()
        except SettingsUnknownError:
            continue
    return sorted(found, key=lambda finding: -finding.severity)


def _inspect_postgres(dsn: str, silence_seconds: float) -> list[Finding]:
    try:
        # A connection of its own, as a new one has what ALTER ROLE and ALTER DATABASE set.
        with (
            connect(dsn, "checks", silence_seconds) as connection,
            connection.cursor(row_factory=class_row(PostgresSettings)) as cursor,
        ):
            settings = cursor.execute(_POSTGRES).fetchone()
    except psycopg.Error as error:
        raise SettingsUnknownError from error
    return postgres_findings(settings) if settings is not None else []


def _inspect_redis(url: str) -> list[Finding]:
    try:
        with Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as redis:
            return redis_findings(redis.info())
    except RedisConnectionError as error:  # also while it loads its data, and for a wrong password
        raise SettingsUnknownError from error
    except ResponseError:
        text = (
            "Redis refuses INFO, so its settings are not checked: allow the command to "
            "Fanfare's user"
        )
        return [Finding(Severity.WARNING, text)]
    except (RedisError, OSError) as error:
        raise SettingsUnknownError from error


def _inspect_topic(bootstrap_servers: str, name: str) -> list[Finding]:
    admin = AdminClient(client_settings(bootstrap_servers) | {"log_level": 0})
    try:
        described = admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT_SECONDS)
        topic = _result(described[name])
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            text = f"the topic {name} is not in Kafka: run `fanfare migrate`"
            return [Finding(Severity.WARNING, text)]
        raise SettingsUnknownError from error
    settings = TopicSettings(
        name,
        len(topic.partitions),
        min((len(partition.replicas) for partition in topic.partitions), default=0),
        str(topic.topic_id) not in {"", "None", _NO_ID},
        _config(admin, name),
    )
    return topic_findings(settings)


def _config(admin: AdminClient, topic: str) -> dict[str, str] | None:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    described = admin.describe_configs([resource], request_timeout=TIMEOUT_SECONDS)
    try:
        entries = _result(described[resource])
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return None
        raise SettingsUnknownError from error
    return {entry.name: entry.value for entry in entries.values()}


def _result(future: Future[Any]) -> Any:
    try:
        return future.result(2 * TIMEOUT_SECONDS)
    except TimeoutError as error:
        raise SettingsUnknownError from error
