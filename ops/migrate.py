"""Brings the schema in Postgres and the topics in Kafka up to date."""

from __future__ import annotations

from importlib import resources

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs lack these
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from core.feed.sharding import PARTITIONS
from core.settings import Settings
from core.storage import schema
from core.storage.kafka import client_settings, dead_letter_topic
from core.storage.retention import longest_days, topic_retention
from core.storage.settings_rules import MANY_REPLICAS, MIN_IN_SYNC
from ops.database import SQL, connect
from ops.errors import OpsError
from ops.failures import failures_as_ops_errors

# An arbitrary number, which must be the same in every `fanfare migrate` of a database.
MIGRATION_LOCK = 0x4D494752
KAFKA_SECONDS = 30.0


@failures_as_ops_errors()
def migrate(settings: Settings) -> list[str]:
    """Apply the missing migrations and create the missing topics; safe to run at any time.

    A topic that keeps records for longer than FANFARE_RETENTION_DAYS is changed.

    Returns:
        What was done, one phrase each.

    Raises:
        OpsError: a server does not answer, or refuses.
    """
    applied = apply_migrations(settings.session_dsn())
    return applied + prepare_topics(
        settings.kafka_address(), settings.topic, settings.retention_days
    )


def apply_migrations(dsn: str) -> list[str]:
    """Apply the SQL files that have not been applied, each in its own transaction.

    Returns:
        A phrase for each file that was applied.

    Raises:
        OpsError: a newer version of Fanfare has migrated the database; nothing was changed.
    """
    files = resources.files("migrations")
    done = []
    with connect(dsn) as connection:
        # Held until the connection is closed. Without it, two runs could apply the same file.
        connection.execute(SQL["lock_migrations"], {"lock": MIGRATION_LOCK})
        connection.execute(SQL["create_schema_migrations"])
        applied = {name for (name,) in connection.execute(schema.SQL["applied_migrations"])}
        if (reason := schema.explain_newer_schema(applied)) is not None:
            raise OpsError(reason)
        for name in schema.migration_names():
            if name not in applied:
                with connection.transaction():
                    connection.execute(files.joinpath(name).read_bytes())
                    connection.execute(SQL["note_migration"], {"name": name})
                done.append(f"applied {name}")
        # Otherwise other processes would have to wait until a write service begins a history.
        connection.execute(SQL["begin_history"], {"forced": False})
    return done


def prepare_topics(bootstrap_servers: str, topic: str, retention_days: float) -> list[str]:
    """Create the topic of the feed and that of its dead letters, or bound their retention.

    Returns:
        A phrase for each topic that was created or changed.
    """
    admin = AdminClient(client_settings(bootstrap_servers))
    replicas = min(3, len(admin.list_topics(timeout=KAFKA_SECONDS).brokers))
    # Set explicitly, because the broker's defaults differ between installations.
    config = {"cleanup.policy": "delete", "unclean.leader.election.enable": "false"}
    if replicas >= MANY_REPLICAS:
        config["min.insync.replicas"] = str(MIN_IN_SYNC)
    config |= topic_retention(retention_days)
    topics = [
        NewTopic(topic, PARTITIONS, replicas, config=config),
        NewTopic(dead_letter_topic(topic), 1, replicas, config=config),
    ]
    done = []
    for name, future in admin.create_topics(topics).items():
        try:
            future.result(timeout=KAFKA_SECONDS)
            done.append(f"created topic {name}")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            done += _bound_retention(admin, name, retention_days)
    return done


def _bound_retention(admin: AdminClient, topic: str, days: float) -> list[str]:
    """Change a topic that keeps records for more than this many days; return what was done."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        described = admin.describe_configs([resource])[resource].result(timeout=KAFKA_SECONDS)
        if longest_days({name: entry.value for name, entry in described.items()}) <= days:
            return []
        changed = ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in topic_retention(days).items()
            ],
        )
        admin.incremental_alter_configs([changed])[changed].result(timeout=KAFKA_SECONDS)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise
        cure = "allow the operations DescribeConfigs and AlterConfigs on it"
        return [f"could not limit how long topic {topic} keeps records, as Kafka refused; {cure}"]
    return [f"limited topic {topic} to keeping records for {days:g} days"]
