"""Reads the settings of Postgres, Redis and Kafka, and checks them against the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import psycopg
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs lack these
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
from core.storage.kafka import client_settings, dead_letter_topic
from core.storage.postgres import connect
from core.storage.queries import load_queries
from core.storage.settings_rules import (
    Finding,
    PostgresSettings,
    Rule,
    Severity,
    TopicSettings,
    postgres_findings,
    redis_findings,
    retention_findings,
    topic_findings,
)

TIMEOUT_SECONDS = 5.0
# What librdkafka returns as the id of a topic if Kafka does not give topics ids.
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
_NO_CONFIG = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART}
SQL = load_queries("core.storage")

Check = Callable[[], Sequence[Finding]]
"""A blocking check of one server's settings. Raises SettingsUnknownError if they cannot be read."""


class SettingsUnknownError(Exception):
    """The settings could not be read, since the server does not answer."""


def postgres_check(settings: Settings) -> Check:
    """Return a check of the Postgres primary."""
    return partial(_check_postgres, settings.primary_dsn(), settings.silence_seconds)


def redis_check(settings: Settings) -> RedisCheck:
    """Return a check of Redis."""
    return RedisCheck(settings.redis_address())


def topic_check(settings: Settings) -> Check:
    """Return a check of the feed's topic in Kafka, and of the topic of its dead letters."""
    return partial(_check_topic, settings.kafka_address(), settings.topic, settings.retention_days)


def _check_postgres(dsn: str, silence_seconds: float) -> list[Finding]:
    try:
        # A new connection each time: ALTER ROLE and ALTER DATABASE do not affect existing ones.
        with (
            connect(dsn, "checks", silence_seconds) as connection,
            connection.cursor(row_factory=class_row(PostgresSettings)) as cursor,
        ):
            settings = cursor.execute(SQL["server_settings"]).fetchone()
    except psycopg.Error as error:
        raise SettingsUnknownError from error
    return postgres_findings(settings) if settings is not None else []


class RedisCheck:
    """A check of Redis, which keeps what INFO said for the metrics."""

    def __init__(self, url: str) -> None:
        """Check the Redis at this URL."""
        self._url = url
        self.info: Mapping[str, Any] = {}
        """The latest reply to INFO; empty if there is none."""

    def __call__(self) -> Sequence[Finding]:
        """Return the findings.

        Raises:
            SettingsUnknownError: Redis does not answer.
        """
        self.info = {}
        try:
            with Redis.from_url(
                self._url,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            ) as redis:
                self.info = redis.info()
        except RedisConnectionError as error:  # also for a wrong password, or if Redis is loading
            raise SettingsUnknownError from error
        except ResponseError:
            text = (
                "the settings of Redis cannot be checked, since Fanfare's user may not use INFO; "
                "allow the command"
            )
            return [Finding(Severity.WARNING, Rule.REDIS_INFO, text)]
        except (RedisError, OSError) as error:
            raise SettingsUnknownError from error
        return redis_findings(self.info)


def _check_topic(bootstrap_servers: str, name: str, retention_days: float) -> list[Finding]:
    admin = AdminClient(client_settings(bootstrap_servers) | {"log_level": 0})
    try:
        described = admin.describe_topics(TopicCollection([name]), request_timeout=TIMEOUT_SECONDS)
        topic = _result(described[name])
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            text = f"the topic {name} does not exist in Kafka; run `fanfare migrate`"
            return [Finding(Severity.WARNING, Rule.KAFKA_TOPIC, text)]
        raise SettingsUnknownError from error
    settings = TopicSettings(
        name,
        len(topic.partitions),
        min((len(partition.replicas) for partition in topic.partitions), default=0),
        str(topic.topic_id) not in {"", "None", _NO_ID},
        _topic_config(admin, name),
    )
    found = topic_findings(settings)
    letters = dead_letter_topic(name)
    configs = {name: settings.config, letters: _topic_config(admin, letters)}
    for topic, config in configs.items():
        if config is not None:
            found += retention_findings(topic, config, retention_days)
    return found


def _topic_config(admin: AdminClient, topic: str) -> dict[str, str] | None:
    """Return the topic's configuration; None if it may not be read, or there is no such topic."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    described = admin.describe_configs([resource], request_timeout=TIMEOUT_SECONDS)
    try:
        entries = _result(described[resource])
    except KafkaException as error:
        if error.args[0].code() in _NO_CONFIG:
            return None
        raise SettingsUnknownError from error
    return {entry.name: entry.value for entry in entries.values()}


def _result(future: Future[Any]) -> Any:
    try:
        return future.result(2 * TIMEOUT_SECONDS)
    except TimeoutError as error:
        raise SettingsUnknownError from error
