"""Bringing the schema in Postgres and the topics in Kafka up to date."""

from __future__ import annotations

from importlib import resources

import psycopg
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # theirs

from core.feed.sharding import PARTITIONS
from core.settings import Settings
from core.storage.kafka import client_settings, dead_letter_topic
from core.storage.settings_rules import MANY_REPLICAS, MIN_IN_SYNC
from ops.feed_status import connect

# Any number, as long as every `fanfare migrate` of one database has the same.
MIGRATION_LOCK = 0x4D494752
KAFKA_SECONDS = 30.0
# For Kafka's events: long enough for a worker to be repaired, and well within the outbox's week.
RETENTION_MILLISECONDS = 7 * 86_400_000


class MigrateError(Exception):
    """The schema or the topics could not be brought up to date; the text says why."""


def migrate(settings: Settings) -> list[str]:
    """Apply what is missing and return a line for each thing done; safe to run at any time.

    Raises MigrateError.
    """
    try:
        done = apply_migrations(settings.primary_dsn())
    except psycopg.OperationalError as error:
        raise MigrateError(f"Postgres does not answer: {error}") from error
    try:
        return done + create_topics(settings.kafka_address(), settings.topic)
    except KafkaException as error:
        raise MigrateError(f"Kafka does not answer, or refuses: {error}") from error


def apply_migrations(dsn: str) -> list[str]:
    """Apply the SQL files not yet applied, each in a transaction; return their names."""
    files = sorted(
        (file for file in resources.files("migrations").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    applied = []
    with connect(dsn) as connection:
        # Two at once would apply the same file twice.
        connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        known = {row[0] for row in connection.execute("SELECT name FROM schema_migrations")}
        for file in files:
            if file.name not in known:
                with connection.transaction():
                    connection.execute(file.read_bytes())
                    connection.execute(
                        "INSERT INTO schema_migrations (name) VALUES (%s)", (file.name,)
                    )
                applied.append(f"applied {file.name}")
        # So that no process waits for a write service to begin it.
        connection.execute("SELECT begin_history(forced => false)")
    return applied


def create_topics(bootstrap_servers: str, topic: str) -> list[str]:
    """Create the feed's topic and its dead letters where they are missing; return what was done."""
    admin = AdminClient(client_settings(bootstrap_servers))
    replicas = min(3, len(admin.list_topics(timeout=KAFKA_SECONDS).brokers))
    # Said here, as the defaults are the broker's, and not the same everywhere.
    config = {"cleanup.policy": "delete", "unclean.leader.election.enable": "false"}
    if replicas >= MANY_REPLICAS:
        config["min.insync.replicas"] = str(MIN_IN_SYNC)
    kept = {"retention.ms": str(RETENTION_MILLISECONDS)}
    topics = [
        NewTopic(topic, PARTITIONS, replicas, config=config | kept),
        NewTopic(dead_letter_topic(topic), 1, replicas, config=config | {"retention.ms": "-1"}),
    ]
    created = []
    for name, future in admin.create_topics(topics).items():
        try:
            future.result(timeout=KAFKA_SECONDS)
            created.append(f"created topic {name}")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return created
